// Tracks entities with the project's own client, driven over pipes.
//
// Each line in is a command, each line out is a report, all JSON:
//   {"do": "create", "url": "http://…", "token": "…"}         or "tokens": […]: one for each call, null fails,
//                                                             {"code": "…"} says that there will be none, and
//                                                             with "sync" says so without a promise;
//                                                             or "tokenUrl": "http://…", asked for each;
//                                                             and the tracker's other options;
//                                                             "faulty" first adds listeners that throw
//   {"do": "track", "type": "vehicle", "ids": […]}
//   {"do": "untrack", "type": "vehicle", "ids": […]}
//   {"do": "last", "type": "vehicle", "id": "v1"}
//   {"do": "follow", "type": "vehicle", "id": "v1"}, and {"do": "end"} to end that, twice
//   {"do": "asked"}: when tokens were asked for, in milliseconds
//   {"do": "problems"}: the code of the tracker's problem at each change of its status
//   {"do": "timers"}: how many are running
//   {"do": "reconnect"} and {"do": "close"}
//   {"status": "…"}, {"location": {…}}, {"error": {…}}, {"tracked": true}, {"refused": {…}}, {"last": {…}},
//   {"asked": […]}, {"problems": […]}, {"followed": {…}}, {"timers": …},
//   {"uncaught": "…"} for what a faulty listener throws
// The process ends at the end of input.

import { createInterface } from 'node:readline';

import { createTracker, follow, TrackingError } from '@atriz/realtime-client';

let tracker;
let end;
const asked = [];
const problems = [];

function report(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

const described = ({ name, code, message, entity }) => ({ name, code, message, entity });

const commands = {
  create({ do: _, url, token, tokens, tokenUrl, faulty, ...options }) {
    const next = async () => {
      const given = tokens.length > 1 ? tokens.shift() : tokens[0];
      if (given === null) throw new Error('no token');
      if (given.code) throw new TrackingError(given.code, 'sign in');
      return given;
    };
    const fetched = async () => {
      const response = await fetch(tokenUrl);
      if (!response.ok) throw new Error(`no token: HTTP ${response.status}`);
      return response.text();
    };
    const callback = () => {
      asked.push(performance.now());
      if (tokens?.[0]?.sync) throw new TrackingError(tokens[0].code, 'sign in');
      return tokens ? next() : fetched();
    };
    tracker = createTracker(url, { token: token ?? callback, ...options });
    report({ status: tracker.status });
    if (faulty) {
      process.on('uncaughtException', ({ message }) => report({ uncaught: message }));
      for (const on of ['onStatus', 'onError', 'onLocation']) {
        tracker[on](() => {
          throw new Error(on);
        });
      }
      const ofOne = () => {
        throw new Error('of v1');
      };
      tracker.onLocation(ofOne, 'vehicle', 'v1');
    }
    tracker.onStatus((status) => report({ status }));
    tracker.onStatus(() => problems.push(tracker.problem?.code ?? null));
    tracker.onError((error) => report({ error: described(error) }));
    tracker.onLocation((event) => report({ location: event }));
  },
  track({ type, ids }) {
    tracker.track(type, ids).then(
      () => report({ tracked: ids }),
      (error) => report({ refused: described(error) }),
    );
  },
  untrack: ({ type, ids }) => tracker.untrack(type, ids),
  last: ({ type, id }) => report({ last: tracker.last(type, id) ?? null }),
  follow({ type, id }) {
    end = follow(tracker, type, id, ({ location, connected, error }) => {
      report({ followed: { speed: location?.speed ?? null, connected, error: error?.code ?? null } });
    });
  },
  end() {
    end();
    end();
  },
  asked: () => report({ asked }),
  problems: () => report({ problems }),
  timers: () => report({ timers: process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length }),
  reconnect: () => tracker.reconnect(),
  close: () => tracker.close(),
};

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
lines.on('close', () => process.exit());
