/**
 * The TCP transport: one connection to each worker that is needed, dialled when it first is; until then (or when a
 * worker's own port cannot be reached from here) another worker's connection serves.
 *
 *     no link up:  connect() ─▶ the given addresses, one after another ─▶ up, or unreachable
 *     some link up:  route(w) ─▶ link w, or dial w in the background and take another one
 *     link w in doubt:           a link to another node, or dial one in the background and take link w
 */
import type { HelloReply, Topology, WorkerAddress } from '../codec/native/messages.ts';
import type { SkerryError } from '../core/errors.ts';
import { nodeOfWorker } from '../core/member.ts';
import type { Address } from './address.ts';
import { TcpLink } from './tcp-link.ts';
import type { Link, Transport, TransportEvents } from './transport.ts';

/** A worker's own port that could not be reached is tried again after so long. */
const WORKER_RETRY_MS = 2000;
/** A link on which a call got nowhere is avoided for so long. */
const DOUBT_MS = 2000;

export interface TcpTransportOptions {
  /** Where the store listens; tried in this order, and then what the store itself names. */
  readonly addresses: readonly Address[];
  readonly connectTimeoutMs: number;
  readonly name: string;
}

interface WorkerDial {
  /** Monotonic milliseconds. */
  notBeforeMs: number;
  link: TcpLink | null;
}

export class TcpTransport implements Transport {
  readonly #options: TcpTransportOptions;
  #events: TransportEvents | null = null;
  /** By worker; only those that are up. */
  readonly #links = new Map<number, TcpLink>();
  readonly #dials = new Map<number, WorkerDial>();
  /** Links that are avoided, and until when, in monotonic milliseconds. */
  readonly #doubts = new Map<TcpLink, number>();
  #workers: readonly WorkerAddress[] = [];
  /** The host that reached the store: stands in for workers' wildcard hosts. */
  #dialledHost = '';
  /** Of addresses: where the next round begins. */
  #nextAddress = 0;
  #round: TcpLink | null = null;
  #delay: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: TcpTransportOptions) {
    this.#options = options;
  }

  open(events: TransportEvents): Promise<HelloReply> {
    return new Promise((resolve, reject) => {
      this.#events = {
        reply: (...response) => events.reply(...response),
        room: (link) => events.room(link),
        down: (link, error) => events.down(link, error),
        up: (link, hello) => {
          events.up(link, hello);
          this.#events = events;
          resolve(hello);
        },
        unreachable: (error) => {
          this.#closed = true;
          reject(error);
        },
      };
      this.#attempt(0);
    });
  }

  route(worker: number): Link | null {
    const link = this.#links.get(worker);
    if (link !== undefined && !this.#isDoubted(link)) return link;
    if (this.#links.size === 0) return null;
    if (link === undefined) this.#dialWorker(worker);
    for (const other of this.#links.values()) if (!this.#isDoubted(other)) return other;
    this.#dialOtherNode();
    const [any] = this.#links.values();
    return link ?? any ?? null;
  }

  doubt(link: Link): void {
    this.#doubts.set(link as TcpLink, performance.now() + DOUBT_MS);
  }

  connect(delayMs: number): void {
    if (this.#closed || this.#links.size > 0 || this.#round !== null || this.#delay !== null) return;
    this.#delay = setTimeout(() => {
      this.#delay = null;
      this.#attempt(0);
    }, delayMs);
  }

  learn(topology: Topology): void {
    this.#workers = topology.workers;
  }

  fail(link: Link, error: SkerryError): void {
    (link as TcpLink).fail(error);
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#delay !== null) clearTimeout(this.#delay);
    const dialling = [...this.#dials.values()].map((dial) => dial.link);
    const links = [...this.#links.values(), ...dialling, this.#round].filter((link) => link !== null);
    this.#links.clear();
    await Promise.all(links.map((link) => link.close()));
  }

  /** Where a round looks: the addresses given, then the workers that the cluster told of. */
  get #addresses(): readonly Address[] {
    const { addresses } = this.#options;
    return [...addresses, ...this.#workers.filter((worker) => !isWildcard(worker))];
  }

  /** One step of a round: the `tried`-th address of it. */
  #attempt(tried: number): void {
    const addresses = this.#addresses;
    const address = addresses[(this.#nextAddress + tried) % addresses.length] as Address;
    this.#round = this.#dial(
      address,
      (link, hello) => {
        this.#round = null;
        this.#nextAddress = (this.#nextAddress + tried) % addresses.length;
        this.#dialledHost = address.host;
        // Those under way stay, to be ended with the client; the others may be tried at once.
        for (const [worker, dial] of this.#dials) if (dial.link === null) this.#dials.delete(worker);
        // One of those may have led to the same worker meanwhile, and calls be under way on it.
        if (this.#links.has(hello.worker)) void link.close();
        else this.#linkUp(link, hello);
      },
      (error) => {
        this.#round = null;
        if (tried + 1 < addresses.length) this.#attempt(tried + 1);
        else this.#events?.unreachable(error);
      },
    );
  }

  #isDoubted(link: TcpLink): boolean {
    const untilMs = this.#doubts.get(link);
    if (untilMs === undefined) return false;
    if (performance.now() < untilMs) return true;
    this.#doubts.delete(link);
    return false;
  }

  /** Dials a worker of a node that no link leads to: one at a time. */
  #dialOtherNode(): void {
    const linked = new Set([...this.#links.keys()].map(nodeOfWorker));
    const others = this.#workers.filter(({ worker }) => !linked.has(nodeOfWorker(worker)));
    if (others.some(({ worker }) => (this.#dials.get(worker)?.link ?? null) !== null)) return;
    const nowMs = performance.now();
    const next = others.find(({ worker }) => (this.#dials.get(worker)?.notBeforeMs ?? 0) <= nowMs);
    if (next !== undefined) this.#dialWorker(next.worker);
  }

  #dialWorker(worker: number): void {
    const place = this.#workers.find((known) => known.worker === worker);
    if (place === undefined || this.#closed) return;
    const dial = this.#dials.get(worker) ?? { notBeforeMs: 0, link: null };
    if (dial.link !== null || performance.now() < dial.notBeforeMs) return;
    this.#dials.set(worker, dial);
    const host = isWildcard(place) ? this.#dialledHost : place.host;
    const later = (): void => {
      dial.link = null;
      dial.notBeforeMs = performance.now() + WORKER_RETRY_MS;
    };
    dial.link = this.#dial(
      { host, port: place.port },
      (link, hello) => {
        dial.link = null;
        if (!this.#links.has(hello.worker)) {
          this.#linkUp(link, hello);
        } else {
          // The port leads to another worker than was said, as behind a proxy.
          later();
          void link.close();
        }
      },
      later,
    );
  }

  #dial(
    address: Address,
    onUp: (link: TcpLink, hello: HelloReply) => void,
    onUnreachable: (error: SkerryError) => void,
  ): TcpLink {
    const { connectTimeoutMs, name } = this.#options;
    return new TcpLink({
      address,
      connectTimeoutMs,
      name,
      onUp,
      onDown: (link, error) => {
        if (link.isUp) this.#linkDown(link, error);
        else onUnreachable(error);
      },
      onReply: (requestId, status, source, start, end, explanation) =>
        this.#events?.reply(requestId, status, source, start, end, explanation),
      onRoom: (link) => this.#events?.room(link),
    });
  }

  #linkUp(link: TcpLink, hello: HelloReply): void {
    this.#links.set(link.worker, link);
    this.#workers = hello.topology.workers;
    this.#events?.up(link, hello);
  }

  #linkDown(link: TcpLink, error: SkerryError): void {
    if (this.#links.get(link.worker) !== link) return;
    this.#links.delete(link.worker);
    this.#doubts.delete(link);
    this.#events?.down(link, error);
  }
}

/** Stands for the host that the client dialled. */
function isWildcard({ host }: WorkerAddress): boolean {
  return host === '' || host === '0.0.0.0' || host === '::';
}
