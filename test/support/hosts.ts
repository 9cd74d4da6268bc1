/** Where the nodes of a lab run: hosts of their own in namespaces, or addresses of their own on this one. */
export interface Hosts {
  readonly count: number;
  /** Of node `i`, from 1. */
  address(i: number): string;
  /** What a process of node `i` is started by. */
  wrapper(i: number): readonly string[];
  /** The network is well again. */
  heal(): void;
  /** Removes everything; the processes must be gone. */
  remove(): void;
}

/** Linux has all of 127.0.0.0/8. */
export const hasLoopbackHosts = process.platform === 'linux';

/**
 * Addresses of this machine's loopback interface, for whoever is not root. Each node has a second one, its gate, where others
 * are told to find it: so proxies can stand in between.
 *
 *     127.a.b.1     node 1         127.a.b.101   its gate
 *     127.a.b.2     node 2         127.a.b.102   its gate
 */
export class Loopback implements Hosts {
  readonly #net = `127.${1 + ((process.pid >> 8) % 250)}.${process.pid % 256}`;
  readonly count: number;

  constructor(count: number) {
    this.count = count;
  }

  address(i: number): string {
    return `${this.#net}.${i}`;
  }

  gate(i: number): string {
    return `${this.#net}.${100 + i}`;
  }

  wrapper(): readonly string[] {
    return [];
  }

  heal(): void {}

  remove(): void {}
}
