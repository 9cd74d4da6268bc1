/** The catalog beside the keys of range 1: each of its replicas applies the same changes (src/core/catalog). */
import { decodeCatalog, decodeCatalogOp, encodeCatalog } from '../src/codec/catalog.ts';
import { applyCatalogOp } from '../src/core/catalog/catalog.ts';
import type { CatalogResult, CatalogState } from '../src/core/catalog/types.ts';

export class RangeCatalog {
  #state: CatalogState;

  /** `bytes`: codec/catalog.ts encodeCatalog(). */
  constructor(bytes: Buffer) {
    this.#state = decodeCatalog(bytes);
  }

  get revision(): number {
    return this.#state.revision;
  }

  /** `op`: codec/catalog.ts encodeCatalogOp(). */
  apply(op: Buffer): CatalogResult {
    const { state, result } = applyCatalogOp(this.#state, decodeCatalogOp(op));
    this.#state = state;
    return result;
  }

  encode(): Buffer {
    return encodeCatalog(this.#state);
  }
}
