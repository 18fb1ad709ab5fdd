import { keyOf, TrackingError } from './model.js';
const LIMIT = 'subscription_limit';
const CHUNK = 500;
const PACE = 25;
const REPEAT_DELAY = 1_000;
export class Subscriptions {
    #wire;
    #all = new Map();
    #leaving = new Map();
    #connected = false;
    #scheduled = false;
    constructor(wire) {
        this.#wire = wire;
    }
    find(type, id) {
        return this.#all.get(keyOf(type, id));
    }
    async add(type, ids) {
        const confirmed = ids.map((id) => this.#addOne(type, id));
        this.#schedule();
        await Promise.all(confirmed);
    }
    #addOne(type, id) {
        let subscription = this.find(type, id);
        if (!subscription) {
            subscription = { type, id, uses: 0, state: 'wanted', waiting: [] };
            this.#all.set(keyOf(type, id), subscription);
        }
        subscription.uses += 1;
        subscription.refused = false;
        if (subscription.state === 'tracked')
            return Promise.resolve();
        const { waiting } = subscription;
        return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
    }
    remove(type, ids) {
        for (const id of ids) {
            const subscription = this.find(type, id);
            if (!subscription || --subscription.uses > 0)
                continue;
            for (const { resolve } of subscription.waiting)
                resolve();
            if (subscription.state !== 'wanted') {
                const leaving = this.#leaving.get(type) ?? new Set();
                this.#leaving.set(type, leaving.add(id));
            }
            this.#drop(subscription);
        }
        this.#schedule();
    }
    #drop(subscription) {
        subscription.state = 'wanted';
        this.#all.delete(keyOf(subscription.type, subscription.id));
        const next = !subscription.refused && [...this.#all.values()].find(({ refused }) => refused);
        if (!next)
            return;
        next.refused = false;
        this.#schedule();
    }
    connected() {
        this.#connected = true;
        this.#schedule();
    }
    disconnected() {
        this.#connected = false;
        this.#leaving.clear();
        for (const subscription of this.#all.values())
            subscription.state = 'wanted';
    }
    pause() {
        this.#connected = false;
    }
    revoked(type, id) {
        const subscription = this.find(type, id);
        if (!subscription)
            return;
        if (!this.#connected) {
            subscription.state = 'wanted';
        }
        else if (subscription.state === 'tracked') {
            this.#drop(subscription);
            this.#wire.failed(new TrackingError('unauthorized', 'no longer permitted', { type, id }));
        }
    }
    refused(error) {
        for (const { waiting } of this.#all.values()) {
            for (const { reject } of waiting.splice(0))
                reject(error);
        }
    }
    close() {
        this.disconnected();
        this.refused(new TrackingError('closed', 'the tracker is closed'));
        this.#all.clear();
    }
    #schedule() {
        if (this.#scheduled || !this.#connected)
            return;
        this.#scheduled = true;
        queueMicrotask(() => {
            this.#scheduled = false;
            if (this.#connected)
                this.#flush();
        });
    }
    #flush() {
        for (const [type, ids] of this.#leaving) {
            for (const rest = [...ids]; rest.length > 0;) {
                this.#wire.ask(`untrack:${type}`, rest.splice(0, CHUNK)).catch(() => undefined);
            }
        }
        this.#leaving.clear();
        const wanted = [...this.#all.values()].filter(({ state, refused }) => state === 'wanted' && !refused);
        for (const type of new Set(wanted.map((each) => each.type))) {
            void this.#request(type, wanted.filter((each) => each.type === type));
        }
        if (this.#all.size === 0)
            this.#wire.authenticated();
    }
    async #request(type, requested) {
        for (const subscription of requested)
            subscription.state = 'requested';
        let size = CHUNK;
        let suspect = 0;
        for (let rest = requested; rest.length > 0; rest = rest.filter(isPending)) {
            const part = rest.slice(0, suspect > 1 ? Math.ceil(suspect / 2) : suspect || size);
            const ids = part.map(({ id }) => id);
            const answer = await this.#wire.ask(`track:${type}`, ids.length > 1 ? ids : ids.join()).catch(() => undefined);
            if (!answer || (answer.code === 'rate_limited' && part.length === 1)) {
                for (const subscription of rest.filter(isPending))
                    subscription.state = 'wanted';
                setTimeout(() => this.#schedule(), REPEAT_DELAY);
                return;
            }
            if (answer.code === 'not_authenticated') {
                this.#wire.unauthenticated(refusal(answer));
                return;
            }
            this.#wire.authenticated();
            if (answer.success) {
                for (const subscription of part.filter(isPending)) {
                    subscription.state = 'tracked';
                    for (const { resolve } of subscription.waiting.splice(0))
                        resolve();
                }
                if (suspect > 0)
                    suspect -= part.length;
                else
                    size = Math.min(size * 2, CHUNK);
            }
            else if (part.length > 1) {
                suspect = part.length;
            }
            else {
                const rejected = answer.code === LIMIT ? rest : part;
                for (const each of rejected.filter(isPending))
                    this.#rejected(each, refusal(answer, each));
                suspect = 0;
                size = 1;
            }
            if (suspect > 0 || size < CHUNK)
                await new Promise((resolve) => setTimeout(resolve, PACE));
        }
    }
    #rejected(subscription, error) {
        if (error.code === LIMIT) {
            subscription.state = 'wanted';
            subscription.refused = true;
        }
        else {
            this.#drop(subscription);
        }
        const waiting = subscription.waiting.splice(0);
        for (const { reject } of waiting)
            reject(error);
        if (waiting.length === 0)
            this.#wire.failed(error);
    }
}
function isPending({ state }) {
    return state === 'requested';
}
export function refusal({ code = 'refused', message = 'refused' }, of) {
    return new TrackingError(code, message, of && { type: of.type, id: of.id });
}
