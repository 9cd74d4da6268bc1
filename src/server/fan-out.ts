/** Questions to all workers at once: sent with a number, and done when each has answered. */
interface Waiting {
  readonly answers: unknown[];
  missing: number;
  readonly done: (answers: readonly unknown[]) => void;
}

export class FanOut {
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  /** `send` is called with the question's number; `done` with the answers of `count` workers, in any order. */
  ask(count: number, send: (id: number) => void, done: (answers: readonly unknown[]) => void): void {
    const id = this.#nextId++;
    this.#waiting.set(id, { answers: [], missing: count, done });
    send(id);
  }

  answered(id: number, answer: unknown): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    waiting.answers.push(answer);
    waiting.missing--;
    if (waiting.missing > 0) return;
    this.#waiting.delete(id);
    waiting.done(waiting.answers);
  }
}
