// Counts the notifies that the code of this thread makes.

/** Counts from now on, until `restore`. */
export function countNotifies(): { count(): number; restore(): void } {
  let notifies = 0;
  const original = Atomics.notify;
  Atomics.notify = new Proxy(original, {
    apply: (notify, self, parameters: Parameters<typeof original>): number => {
      notifies += 1;
      return Reflect.apply(notify, self, parameters);
    },
  });
  return {
    count: () => notifies,
    restore: () => {
      Atomics.notify = original;
    },
  };
}
