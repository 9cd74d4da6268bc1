/**
 * CRC-32 (IEEE 802.3), the one checksum of everything on disk and between nodes. Two implementations with the same
 * values, chosen by length: calling into zlib costs a fixed 100–200 ns, `crc-32` (slicing by 16, in JavaScript) costs more per
 * byte. They meet near 192 bytes; below 32 bytes a plain loop over the table beats the cost of making a view.
 */
import { createRequire } from 'node:module';
import { crc32 as zlibCrc32 } from 'node:zlib';

interface Crc32Package {
  buf(bytes: Uint8Array, seed?: number): number;
  readonly table: Int32Array;
}

// `crc-32` is CommonJS and its types lack the table.
const package32 = createRequire(import.meta.url)('crc-32') as Crc32Package;
const { table } = package32;

const LOOP_BYTES_MAX = 31;
const PACKAGE_BYTES_MAX = 191;

/** CRC-32 of buffer[start, end) as u32, continued from `seed` (the CRC of what comes before; 0 at the beginning). */
export function crc32(buffer: Buffer, start: number, end: number, seed = 0): number {
  const length = end - start;
  if (length <= LOOP_BYTES_MAX) {
    let crc = ~seed;
    for (let i = start; i < end; i++) {
      crc = (crc >>> 8) ^ (table[(crc ^ (buffer[i] as number)) & 0xff] as number);
    }
    return ~crc >>> 0;
  }
  const view = buffer.subarray(start, end);
  return length <= PACKAGE_BYTES_MAX ? package32.buf(view, seed) >>> 0 : zlibCrc32(view, seed);
}

/** CRC-32 of all of `bytes`, for short ones that need no view: same values as crc32(). */
export function crc32Short(bytes: Uint8Array, seed = 0): number {
  return package32.buf(bytes, seed) >>> 0;
}
