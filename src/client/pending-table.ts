/**
 * Calls under way by request id. Ids count up; a call lies in slots[id mod size], and an id whose slot is still taken is
 * passed over, so that finding a reply's call is one index into an array.
 */
export class PendingTable<Call extends { requestId: number }> {
  #slots: (Call | null)[] = Array.from({ length: 256 }, () => null);
  #count = 0;
  #lastId = 0;

  get size(): number {
    return this.#count;
  }

  /** Gives the call its request id. */
  add(call: Call): void {
    if (this.#count * 2 >= this.#slots.length) this.#grow();
    const slots = this.#slots;
    let id = this.#lastId;
    do id++;
    while (slots[id % slots.length] !== null);
    this.#lastId = id;
    call.requestId = id;
    slots[id % slots.length] = call;
    this.#count++;
  }

  /** Takes the call out, or null when nobody waits under this id. */
  take(requestId: number): Call | null {
    const at = requestId % this.#slots.length;
    const call = this.#slots[at];
    if (call === null || call === undefined || call.requestId !== requestId) return null;
    this.#slots[at] = null;
    this.#count--;
    return call;
  }

  /** All calls, in the order of their ids. */
  all(): Call[] {
    return this.#slots.filter((call) => call !== null).sort((a, b) => a.requestId - b.requestId);
  }

  #grow(): void {
    // Ids that had different slots still have different ones in twice as many.
    const slots = Array.from<Call | null>({ length: this.#slots.length * 2 }).fill(null);
    for (const call of this.#slots) if (call !== null) slots[call.requestId % slots.length] = call;
    this.#slots = slots;
  }
}
