/** Questions to another thread that are answered by message, matched by their number. */
import { SkerryError } from '../src/core/errors.ts';

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: SkerryError) => void;
}

export class Requests {
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  /**
   * Sends a question under the number that `send` is given; T is what the other thread is known to answer it with. Rejects
   * with KV_STATE when the answer is an error.
   */
  ask<T>(send: (id: number) => void): Promise<T> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: (value) => resolve(value as T), reject });
      send(id);
    });
  }

  answer(id: number, error: string | null, value: unknown): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === null) waiting?.resolve(value);
    else waiting?.reject(new SkerryError('KV_STATE', error));
  }
}
