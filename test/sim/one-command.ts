/** A simulated client's connection with one command, and what its reply means to the history. */
import type { ReplySink, ReplyTarget } from '../../src/core/kv/reply.ts';
import type { Reply } from '../support/kv-machine.ts';
import { ValueSink } from '../support/kv-machine.ts';
import type { Coverage } from './coverage.ts';
import type { Answer } from './node.ts';

export class OneCommand implements ReplyTarget {
  readonly protocol = 4;
  readonly open = true;
  readonly writesInFlight = 0;
  readonly #sink = new ValueSink();
  readonly #answer: Answer;
  readonly #coverage: Coverage;

  constructor(answer: Answer, coverage: Coverage) {
    this.#answer = answer;
    this.#coverage = coverage;
  }

  begin(): ReplySink {
    return this.#sink;
  }
  finish(): void {
    const [reply] = this.#sink.take() as [Reply];
    const text = String(reply);
    if (text.startsWith('-DISKFULL')) this.#coverage.count('writes refused for want of room');
    if (text.startsWith('-UNKNOWNRESULT')) this.#answer({ outcome: 'unknown' });
    else if (text.startsWith('-')) this.#answer({ outcome: 'failed' });
    else this.#answer({ outcome: 'ok', value: reply === null || text === '+OK' ? null : text });
  }
  raw(): void {
    throw new Error('replies of other threads do not come here');
  }
}
