/** Calls over a link that loses nothing, as an embedded store's are: no identity, and nothing in doubt is sent again. */
import test from 'ava';
import type { Request } from '../../../src/client/call.ts';
import { CALL_WRITE } from '../../../src/client/call.ts';
import { Dispatcher } from '../../../src/client/dispatcher.ts';
import { clientSettings } from '../../../src/client/options.ts';
import { decodeOk } from '../../../src/client/replies.ts';
import type { Link, Transport } from '../../../src/client/transport.ts';
import { STATUS_OK, STATUS_STORE_ERROR } from '../../../src/codec/native/frame.ts';
import { packMessage, packStoreError } from '../../../src/codec/native/messages.ts';
import { SkerryError } from '../../../src/core/errors.ts';
import type { RequestId } from '../../../src/core/kv/batch.ts';

const WRITE: Request = {
  op: 2,
  kind: CALL_WRITE,
  args: ['key', 'value'],
  key: 'key',
  consistency: 0,
  isExplained: false,
};

interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

const done: Answer = { status: STATUS_OK, body: packMessage('OK') };
const failure = (error: SkerryError): Answer => ({ status: STATUS_STORE_ERROR, body: packStoreError(error) });

/** A dispatcher over one exact link, which answers requests with `answers`, one after another, and takes `most` at once. */
function createDispatcher(
  answers: readonly Answer[],
  most = Infinity,
): { dispatcher: Dispatcher; sent: (RequestId | null)[] } {
  const sent: (RequestId | null)[] = [];
  let answered = 0;
  const link: Link = {
    worker: 1,
    frameBytesMax: 1024,
    lastReceivedMs: 0,
    inVainSinceMs: 0,
    isExact: true,
    reserve: () => sent.length - answered < most,
    send: (requestId, _rangeId, _rangeEpoch, _request, identity) => {
      const { status, body } = answers[sent.length] as Answer;
      sent.push(identity);
      setImmediate(() => {
        answered++;
        dispatcher.reply(requestId, status, body, 0, body.length);
      });
    },
  };
  const transport: Transport = {
    open: () => Promise.reject(new Error('not opened here')),
    route: () => link,
    connect: () => undefined,
    learn: () => undefined,
    doubt: () => undefined,
    fail: () => undefined,
    close: () => Promise.resolve(),
  };
  const dispatcher = new Dispatcher(transport, clientSettings({ retryDelayMs: 1 }), 7, Math.random);
  return { dispatcher, sent };
}

test('a write that was certainly not applied is sent again, without an identity', async (t) => {
  const refused = new SkerryError('KV_NOT_LEADER', 'not yet', { retryable: true });
  const { dispatcher, sent } = createDispatcher([failure(refused), done]);
  t.true(await dispatcher.call(WRITE, decodeOk, undefined));
  t.deepEqual(sent, [null, null]);
  await dispatcher.close();
});

test('a write whose result is unknown is not sent again: nothing would keep it from being applied twice', async (t) => {
  const unknown = new SkerryError('KV_UNKNOWN_RESULT', 'the store stops', { retryable: true });
  const { dispatcher, sent } = createDispatcher([failure(unknown), done]);
  await t.throwsAsync(dispatcher.call(WRITE, decodeOk, undefined), { code: 'KV_UNKNOWN_RESULT' });
  t.is(sent.length, 1);
  await dispatcher.close();
});

test('a call that waits for room is sent when the one before it was answered, be it with an error', async (t) => {
  const wrong = new SkerryError('KV_REPLY', 'WRONGTYPE of something else');
  const { dispatcher, sent } = createDispatcher([failure(wrong), done], 1);
  const refused = dispatcher.call(WRITE, decodeOk, undefined);
  const waiting = dispatcher.call(WRITE, decodeOk, undefined);
  await t.throwsAsync(refused, { code: 'KV_REPLY' });
  t.true(await waiting);
  t.is(sent.length, 2);
  await dispatcher.close();
});
