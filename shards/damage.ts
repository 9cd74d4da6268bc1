/** Damage on the disk, in words. */
import type { SkerryError } from '../src/core/errors.ts';

/** File, place and fault of a KV_CORRUPT error, without the advice to whoever is alone with it. */
export function whatIsDamaged({ hint, message }: SkerryError): string {
  const { file, offset, what } = hint;
  return typeof file === 'string' && typeof what === 'string' ? `${file}, offset ${String(offset)}: ${what}` : message;
}
