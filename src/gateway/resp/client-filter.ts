/** What CLIENT LIST and CLIENT KILL choose clients by. Plain data: it is sent to the other workers as it is. */
import type { Args } from '../../core/kv/args.ts';
import { argText } from '../../core/kv/args.ts';
import type { RespClient } from './clients.ts';
import { integerAt, wordAt } from './own-command.ts';

export interface ClientFilter {
  /** Any of these; null = whoever. */
  readonly ids: readonly number[] | null;
  readonly address: string | null;
  readonly localAddress: string | null;
  /** All clients are of Redis's type "normal": a filter for another type finds none. */
  readonly isNormal: boolean;
  /** A client that is not meant, whatever the rest says; 0 = none. */
  readonly exceptId: number;
}

const EVERYBODY: ClientFilter = { ids: null, address: null, localAddress: null, isNormal: true, exceptId: 0 };
const SYNTAX = 'ERR syntax error';
const CLIENT_TYPES = new Set(['normal', 'slave', 'replica', 'pubsub', 'master']);

export function matchesClient(filter: ClientFilter, { id, address, localAddress }: RespClient): boolean {
  return (
    filter.isNormal &&
    (filter.ids === null || filter.ids.includes(id)) &&
    (filter.address === null || filter.address === address) &&
    (filter.localAddress === null || filter.localAddress === localAddress) &&
    filter.exceptId !== id
  );
}

/** The filter of CLIENT LIST [TYPE t | ID id …], or what is wrong with it. */
export function parseListFilter(args: Args): ClientFilter | string {
  if (args.count === 1) return EVERYBODY;
  const option = wordAt(args, 1);
  if (option === 'TYPE' && args.count === 3) {
    const type = argText(args, 2);
    if (!CLIENT_TYPES.has(type.toLowerCase())) return `ERR Unknown client type '${type}'`;
    return { ...EVERYBODY, isNormal: type.toLowerCase() === 'normal' };
  }
  if (option !== 'ID' || args.count < 3) return SYNTAX;
  const ids: number[] = [];
  for (let i = 2; i < args.count; i++) {
    const id = integerAt(args, i);
    if (id === null) return 'ERR Invalid client ID';
    ids.push(id);
  }
  return { ...EVERYBODY, ids };
}

/** The filter of CLIENT KILL with filters and values, asked by `selfId`, or what is wrong with it. */
export function parseKillFilter(args: Args, selfId: number): ClientFilter | string {
  let filter: ClientFilter = { ...EVERYBODY, exceptId: selfId };
  for (let i = 1; i < args.count; i += 2) {
    const more = i + 1 < args.count ? readKillFilter(args, i, selfId) : SYNTAX;
    if (typeof more === 'string') return more;
    filter = { ...filter, ...more };
  }
  return filter;
}

/** CLIENT KILL address: the old form, which spares nobody. */
export function addressFilter(address: string): ClientFilter {
  return { ...EVERYBODY, address };
}

function readKillFilter(args: Args, i: number, selfId: number): Partial<ClientFilter> | string {
  const value = argText(args, i + 1);
  switch (wordAt(args, i)) {
    case 'ID': {
      const id = integerAt(args, i + 1);
      return id === null || id < 1 ? 'ERR client-id should be greater than 0' : { ids: [id] };
    }
    case 'ADDR':
      return { address: value };
    case 'LADDR':
      return { localAddress: value };
    case 'TYPE': {
      const type = value.toLowerCase();
      return CLIENT_TYPES.has(type) ? { isNormal: type === 'normal' } : `ERR Unknown client type '${value}'`;
    }
    case 'USER':
      return value === 'default' ? {} : `ERR No such user '${value}'`;
    case 'SKIPME': {
      const word = value.toLowerCase();
      if (word !== 'yes' && word !== 'no') return SYNTAX;
      return { exceptId: word === 'yes' ? selfId : 0 };
    }
    default:
      return SYNTAX;
  }
}
