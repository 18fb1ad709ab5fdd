import { io } from 'socket.io-client';
import { addressOf, pathProblem } from './address.js';
import { causeOf, LASTING_CAUSES, MEANING } from './diagnosis.js';
import { keyOf, TrackingError, } from './model.js';
import { refusal, Subscriptions } from './subscriptions.js';
const ANSWER_TIMEOUT = 10_000;
const FIRST_RETRY = 500;
const LONGEST_RETRY = 30_000;
const LOOKS = [3_000, 4_000];
const CALM = 60_000;
const TOKEN_TIMEOUT = 8_000;
const LONGEST_HOLD = 1_000;
const MAX_REFUSALS = 6;
const LASTING = 15_000;
export function createTracker(url, options) {
    const kind = typeof options?.token;
    if (typeof url !== 'string')
        throw new TypeError('url must be a string');
    if (kind !== 'string' && kind !== 'function')
        throw new TypeError('token must be a string or function');
    return new SocketTracker(url, options);
}
class SocketTracker {
    status = 'connecting';
    problem = null;
    #token;
    #socket;
    #subscriptions;
    #listeners = new Map();
    #statusListeners = new Set();
    #errorListeners = new Set();
    #address;
    #pathProblem;
    #timers = new Set();
    #connectedAt = Infinity;
    #refusals = 0;
    #proven = false;
    #sent = '';
    #attempts = 0;
    #explaining = false;
    #renewing;
    #calledAt = -Infinity;
    #calls = 0;
    constructor(url, { token, path = '/socket.io/', transports = ['websocket', 'polling'] }) {
        const tried = [...transports];
        path = path.replace(/^\/?/, '/');
        this.#token = token;
        this.#address = addressOf(url, path);
        const problem = (this.#pathProblem = pathProblem(url));
        this.#socket = io(url, {
            forceNew: true,
            autoConnect: false,
            reconnectionDelay: 500,
            reconnectionDelayMax: 10_000,
            path,
            transports: tried,
            tryAllTransports: true,
            auth: (answer) => void this.#sendToken(answer),
        });
        this.#subscriptions = new Subscriptions({
            ask: (event, ids) => this.#ask(event, ids),
            unauthenticated: (error) => void this.#unauthenticated(error),
            authenticated: () => this.#authenticated(),
            failed: (error) => this.#failed(error),
        });
        this.#socket.on('connect', () => this.#connected());
        this.#socket.on('disconnect', (reason) => this.#disconnected(reason));
        this.#socket.on('connect_error', (error) => {
            if (error.message === 'timeout')
                tried.reverse();
            this.#notConnected(error);
        });
        this.#socket.on('location:update', (event) => this.#moved(event));
        this.#socket.on('tracking:revoked', ({ type, entityId }) => {
            this.#subscriptions.revoked(type, entityId);
        });
        this.#socket.on('token:expiring', (notice) => void this.#renew(notice?.expiresIn));
        globalThis.addEventListener?.('offline', this.#offline);
        if (problem) {
            this.status = 'refused';
            this.problem = problem;
            queueMicrotask(() => this.#failed(problem));
        }
        else {
            this.#connect();
        }
    }
    async track(type, ids) {
        if (this.status === 'closed')
            throw new TrackingError('closed', 'the tracker is closed');
        const confirmed = this.#subscriptions.add(type, [ids].flat());
        if (this.status === 'refused' && this.problem)
            this.#subscriptions.refused(this.problem);
        return confirmed;
    }
    untrack(type, ids) {
        this.#subscriptions.remove(type, [ids].flat());
    }
    last(type, id) {
        return this.#subscriptions.find(type, id)?.last;
    }
    onLocation(listener, type, id) {
        const key = type === undefined || id === undefined ? undefined : keyOf(type, id);
        const listeners = this.#listeners.get(key) ?? new Set();
        this.#listeners.set(key, listeners);
        listeners.add(listener);
        return () => {
            listeners.delete(listener);
            if (listeners.size === 0 && this.#listeners.get(key) === listeners)
                this.#listeners.delete(key);
        };
    }
    onStatus(listener) {
        this.#statusListeners.add(listener);
        return () => void this.#statusListeners.delete(listener);
    }
    onError(listener) {
        this.#errorListeners.add(listener);
        return () => void this.#errorListeners.delete(listener);
    }
    reconnect() {
        if (this.status !== 'refused' || this.#pathProblem)
            return;
        this.#refusals = 0;
        this.problem = null;
        this.#setStatus('reconnecting');
        this.#connect();
    }
    close() {
        if (this.status === 'closed')
            return;
        globalThis.removeEventListener?.('offline', this.#offline);
        for (const timer of this.#timers)
            clearTimeout(timer);
        this.#socket.disconnect();
        this.#subscriptions.close();
        this.#setStatus('closed');
    }
    #offline = () => {
        const { engine } = this.#socket.io;
        if (engine?.readyState === 'open')
            engine.close();
    };
    #connect() {
        this.#socket.connect();
        for (const delay of LOOKS) {
            void this.#after(delay).then(() => {
                if (this.#socket.io.engine.readyState === 'opening')
                    void this.#diagnose();
            });
        }
    }
    async #sendToken(answer) {
        const attempt = ++this.#attempts;
        await this.#calm(LONGEST_HOLD);
        if (attempt !== this.#attempts || !this.#socket.active)
            return;
        const token = await this.#fresh();
        const lost = attempt !== this.#attempts || !this.#socket.active;
        if (!(token instanceof TrackingError)) {
            if (!lost)
                answer({ token: (this.#sent = token) });
        }
        else if (lost) {
            this.#failed(token);
        }
        else {
            this.#socket.disconnect();
            this.#refused(token, isFinal(token));
        }
    }
    #connected() {
        this.#connectedAt = performance.now();
        this.#proven = true;
        this.#subscriptions.connected();
    }
    #authenticated() {
        if (!this.#socket.connected)
            return;
        this.problem = null;
        this.#setStatus('connected');
    }
    #disconnected(reason) {
        this.#subscriptions.disconnected();
        if (this.status === 'closed' || this.status === 'refused' || this.#explaining)
            return;
        if (reason === 'io server disconnect')
            this.#refused(undefined);
        else if (reason !== 'io client disconnect')
            this.#setStatus('reconnecting');
    }
    #notConnected(error) {
        if (this.status === 'closed')
            return;
        if (this.#socket.active)
            void this.#diagnose(error, error.description);
        else
            this.#refused(new TrackingError(error.data?.code ?? 'refused', error.message));
    }
    async #diagnose(reason, status) {
        const cause = await causeOf(status, this.#proven ? undefined : this.#address);
        if (this.#socket.connected || !this.#socket.active)
            return;
        const lasts = LASTING_CAUSES.includes(cause);
        if (!lasts && !reason)
            return;
        const error = new TrackingError(cause, MEANING[cause], undefined, { cause: reason });
        if (cause !== this.problem?.code)
            this.#prevented(error);
        else if (lasts && !this.#proven) {
            this.#socket.disconnect();
            this.#stop(error);
        }
    }
    async #unauthenticated(error) {
        if (!this.#socket.connected || this.#explaining)
            return;
        this.#explaining = true;
        const answer = await this.#ask('authenticate', this.#sent).catch(() => undefined);
        this.#explaining = false;
        if (this.status === 'closed')
            return;
        if (answer?.success && this.#socket.connected) {
            this.#subscriptions.disconnected();
            this.#subscriptions.connected();
            return;
        }
        this.#socket.disconnect();
        this.#refused(answer?.success === false ? refusal(answer) : error);
    }
    #refused(error, final = typeof this.#token === 'string') {
        if (performance.now() - this.#connectedAt > LASTING)
            this.#refusals = 0;
        this.#connectedAt = Infinity;
        this.#refusals += 1;
        if (final || this.#refusals >= MAX_REFUSALS) {
            this.#stop(error ?? new TrackingError('refused', 'the server closed the connection'));
            return;
        }
        if (error)
            this.#prevented(error);
        this.#setStatus('reconnecting');
        void this.#after(retryDelay(this.#refusals)).then(() => this.#connect());
    }
    #stop(error) {
        this.#prevented(error);
        this.#setStatus('refused');
        this.#subscriptions.refused(error);
    }
    async #calm(most) {
        const since = performance.now() - this.#calledAt;
        if (since > CALM)
            this.#calls = 0;
        if (this.#calls === 0 || typeof this.#token === 'string')
            return;
        const apart = Math.max(Math.min(retryDelay(this.#calls), most), FIRST_RETRY);
        if (apart > since)
            await this.#after(apart - since);
    }
    async #fresh() {
        const token = typeof this.#token === 'string' ? this.#token : await this.#called(this.#token);
        return typeof token === 'string' ? token.trim() : token;
    }
    async #called(callback) {
        this.#calledAt = performance.now();
        this.#calls += 1;
        try {
            const called = (async () => callback())();
            const late = this.#after(TOKEN_TIMEOUT, called).then(() => {
                throw new Error('the token took too long');
            });
            const token = await Promise.race([called, late]);
            if (typeof token === 'string' && /\S/.test(token))
                return token;
            throw new TypeError('the function returned no token');
        }
        catch (error) {
            if (error instanceof TrackingError)
                return error;
            return new TrackingError('token_unavailable', String(error), undefined, { cause: error });
        }
    }
    async #renew(expiresIn = 0, known) {
        const { id } = this.#socket;
        if (typeof this.#token === 'string' || !id || this.#renewing === id)
            return;
        this.#renewing = id;
        const notified = performance.now();
        await this.#calm((expiresIn * 1_000) / 2);
        if (this.#renewing === id)
            this.#renewing = undefined;
        if (this.#socket.id !== id)
            return;
        const token = await this.#fresh();
        if (token instanceof TrackingError) {
            if (token.code !== known)
                this.#failed(token);
            const left = expiresIn - (performance.now() - notified) / 1_000;
            if (left > 0 && !isFinal(token))
                void this.#renew(left, token.code);
        }
        else if (this.#socket.id === id) {
            this.#sent = token;
            this.#subscriptions.pause();
            const answer = await this.#ask('authenticate', token).catch(() => undefined);
            if (this.#socket.id === id)
                this.#subscriptions.connected();
            if (answer?.success === false)
                this.#failed(refusal(answer));
        }
    }
    #ask(event, argument) {
        return this.#socket.timeout(ANSWER_TIMEOUT).emitWithAck(event, argument);
    }
    #after(delay, settled) {
        return new Promise((resolve) => {
            const end = () => {
                clearTimeout(timer);
                this.#timers.delete(timer);
                resolve();
            };
            const timer = setTimeout(end, delay);
            this.#timers.add(timer);
            settled?.then(end, end);
        });
    }
    #moved(event) {
        const { type, entityId } = event;
        const subscription = this.#subscriptions.find(type, entityId);
        if (subscription)
            subscription.last = event;
        tell(this.#listeners.get(keyOf(type, entityId)), event);
        tell(this.#listeners.get(undefined), event);
    }
    #setStatus(status) {
        if (this.status === status)
            return;
        this.status = status;
        tell(this.#statusListeners, status);
    }
    #prevented(error) {
        const known = this.problem?.code;
        this.problem = error;
        if (known !== error.code)
            this.#failed(error);
    }
    #failed(error) {
        tell(this.#errorListeners, error);
    }
}
function tell(listeners = [], value) {
    for (const listener of listeners) {
        try {
            listener(value);
        }
        catch (error) {
            queueMicrotask(() => {
                throw error;
            });
        }
    }
}
function isFinal(error) {
    return error.code !== 'token_unavailable';
}
function retryDelay(attempts) {
    return Math.min(FIRST_RETRY * 2 ** attempts, LONGEST_RETRY) * (0.5 + Math.random() / 2);
}
