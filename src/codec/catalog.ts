/** The catalog and its changes as bytes, in entries, checkpoints and messages: msgpack of the values themselves. */
import { Packr } from 'msgpackr';
import type { CatalogOp, CatalogState } from '../core/catalog/types.ts';

const packr = new Packr({ useRecords: false });

export function encodeCatalog(state: CatalogState): Buffer {
  return packr.pack(state);
}

/** What encodeCatalog() wrote. */
export function decodeCatalog(bytes: Uint8Array): CatalogState {
  return packr.unpack(bytes) as CatalogState;
}

export function encodeCatalogOp(op: CatalogOp): Buffer {
  return packr.pack(op);
}

/** What encodeCatalogOp() wrote; changes that come from other nodes are checked before they are encoded. */
export function decodeCatalogOp(bytes: Uint8Array): CatalogOp {
  return packr.unpack(bytes) as CatalogOp;
}
