/** Unsigned numbers below 2^53 in as few bytes as they need (LEB128): seven bits each, the lowest first, 0x80 = more follow. */
import { PeerProtocolError } from './frame.ts';

export const VARINT_BYTES_MAX = 8;

/** Writes `value` at `offset` and returns the offset behind it. */
export function writeVarint(target: Buffer, offset: number, value: number): number {
  let rest = value;
  while (rest >= 0x80) {
    target[offset++] = (rest & 0x7f) | 0x80;
    rest = rest < 2 ** 31 ? rest >>> 7 : Math.floor(rest / 128);
  }
  target[offset] = rest;
  return offset + 1;
}

/** Reads source[at, end) piece by piece. Throws PeerProtocolError where the bytes end too early or are no such number. */
export class PayloadReader {
  source: Buffer;
  at: number;
  end: number;

  constructor(source: Buffer, start: number, end: number) {
    this.source = source;
    this.at = start;
    this.end = end;
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  byte(): number {
    if (this.at >= this.end) throw tooShort();
    return this.source[this.at++] as number;
  }

  varint(): number {
    let value = 0;
    let unit = 1;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      const byte = this.byte();
      value += (byte & 0x7f) * unit;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      unit *= 128;
    }
    throw new PeerProtocolError('a number is too large');
  }

  /** Returns the offset of the next `length` bytes and steps over them. */
  skip(length: number): number {
    const start = this.at;
    if (length > this.end - start) throw tooShort();
    this.at = start + length;
    return start;
  }

  /** Text as writeText() wrote it. */
  text(): string {
    const length = this.varint();
    const start = this.skip(length);
    return this.source.toString('utf8', start, start + length);
  }
}

function tooShort(): PeerProtocolError {
  return new PeerProtocolError('a frame ends in the middle of what it carries');
}
