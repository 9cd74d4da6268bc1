/** Where served stores listen: skerry://host:port. */
import { SkerryError } from '../core/errors.ts';

const DEFAULT_PORT = 7370;
const SCHEME = 'skerry://';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `host`, `host:port`, `[v6 address]:port`. Throws SkerryError KV_INVALID. */
export function parseAddress(text: string, defaultPort = DEFAULT_PORT): Address {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^\s[\]:/?#@]+))(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port < 1 || port > 65_535) {
    throw new SkerryError(
      'KV_INVALID',
      `"${text}" is not an address; write host:port, such as 127.0.0.1:${defaultPort}`,
    );
  }
  return { host, port };
}

/** Addresses of `skerry://host:port[,host:port …]`. Throws SkerryError KV_INVALID. */
export function parseUrl(url: string): readonly Address[] {
  if (!url.startsWith(SCHEME)) {
    throw new SkerryError('KV_INVALID', `${url} is no address of a store; write skerry://host:port`);
  }
  return parseAddresses(url.slice(SCHEME.length).replace(/\/$/, ''));
}

/** One or more addresses, with commas between them. Throws SkerryError KV_INVALID. */
export function parseAddresses(text: string): readonly [Address, ...Address[]] {
  const [first = '', ...rest] = text.split(',');
  return [parseAddress(first), ...rest.map((one) => parseAddress(one))];
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
