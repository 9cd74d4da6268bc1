/** A node as those who start it see it. */
import type { FatalError } from '../core/errors.ts';
import type { LinkEnd } from '../gateway/gateway.ts';
import type { Route } from '../core/range.ts';

export interface ServerAddresses {
  readonly host: string;
  /** Native protocol. */
  readonly port: number;
  readonly respPort: number;
  readonly httpPort: number;
  /** For the other nodes of the cluster. */
  readonly peerPort: number;
  /** Each worker's own native port. */
  readonly workerPorts: readonly number[];
}

export interface StartOptions {
  /** Without: nothing listens, and the store is reached through the last endpoint's links. */
  readonly listens: boolean;
  /** Called once when the node cannot go on; it has let go of everything then. */
  readonly onFatal: (error: FatalError) => void;
}

/** What a thread needs to be an endpoint beside the workers. */
export interface EmbeddedEndpoint {
  readonly links: readonly LinkEnd[];
  readonly doorbells: readonly SharedArrayBuffer[];
  readonly routes: () => readonly Route[];
  readonly onRoutes: (listener: (routes: readonly Route[]) => void) => void;
}

export interface RunningServer {
  readonly addresses: ServerAddresses;
  readonly version: string;
  readonly endpoint: EmbeddedEndpoint | null;
  /** All ranges, in key order. */
  ranges(): readonly Route[];
  /** Cuts the range that holds the key there. Rejects with SkerryError. */
  splitRange(key: Buffer): Promise<void>;
  /** Asks something of the cluster (cluster/orders.ts). Rejects with SkerryError. */
  orderCluster(order: readonly string[]): Promise<unknown>;
  status(): unknown;
  /** Ends connections after the replies that are owed, writes the log out, lets go of the folder. */
  close(): Promise<void>;
}
