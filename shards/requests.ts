/** Questions to another thread that are answered by message, matched by their number. */
import { SkerryError } from '../src/core/errors.ts';

interface Waiting {
  readonly resolve: (value: number) => void;
  readonly reject: (error: SkerryError) => void;
}

export class Requests {
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  /** Sends a question under the number that `send` is given. Rejects with KV_STATE when the answer is an error. */
  ask(send: (id: number) => void): Promise<number> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      send(id);
    });
  }

  answer(id: number, error: string | null, value: number): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === null) waiting?.resolve(value);
    else waiting?.reject(new SkerryError('KV_STATE', error));
  }
}
