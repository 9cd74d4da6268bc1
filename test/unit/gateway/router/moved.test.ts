/** Commands that met other boundaries than were believed: sent again when there is hope, given up when there is none. */
import test from 'ava';
import { MovedCommands } from '../../../../src/gateway/router/moved.ts';

function setUp() {
  const state = { generation: 1, nowMs: 0 };
  const log: string[] = [];
  const moved = new MovedCommands({ generation: () => state.generation, monotonicMs: () => state.nowMs, waitMs: 100 });
  const retry = (name: string, generation: number, attempt = 1): void =>
    moved.retry(
      generation,
      attempt,
      () => log.push(`${name} again`),
      () => log.push(`${name} given up`),
    );
  return { state, log, moved, retry };
}

test('a command is sent again at once when the routes have changed since it was sent', (t) => {
  const { state, log, retry } = setUp();
  state.generation = 2;
  retry('a', 1);
  t.deepEqual(log, ['a again']);
});

test('otherwise it is kept until they change, and then sent once', (t) => {
  const { log, moved, retry } = setUp();
  retry('a', 1);
  retry('b', 1);
  t.deepEqual(log, []);
  moved.routesChanged();
  moved.routesChanged();
  t.deepEqual(log, ['a again', 'b again']);
});

test('what is kept for too long is given up, and nothing else', (t) => {
  const { state, log, moved, retry } = setUp();
  retry('a', 1);
  state.nowMs = 60;
  retry('b', 1);
  moved.expire();
  t.deepEqual(log, []);
  state.nowMs = 100;
  moved.expire();
  moved.routesChanged();
  t.deepEqual(log, ['a given up', 'b again']);
});

test('a command that meets one split after another is given up in the end', (t) => {
  const { state, log, moved } = setUp();
  let attempts = 0;
  const send = (): void => {
    attempts++;
    state.generation++;
    moved.retry(state.generation - 1, attempts, send, () => log.push('given up'));
  };
  send();
  t.deepEqual(log, ['given up']);
  t.true(attempts > 10);
});
