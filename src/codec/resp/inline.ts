/** Inline commands: words of one line, with quotes and escapes as Redis reads them (sdssplitargs in its sds.c). */

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07' };

/** The words of `line` (latin1), or null when quotes do not balance. */
export function splitInline(line: string): string[] | null {
  const words: string[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && isSpace(line[at] as string)) at++;
    if (at === line.length) return words;
    let word = '';
    while (at < line.length && !isSpace(line[at] as string)) {
      const char = line[at] as string;
      if (char !== '"' && char !== "'") {
        word += char;
        at++;
        continue;
      }
      const quoted = char === '"' ? readDouble(line, at + 1) : readSingle(line, at + 1);
      if (quoted === null) return null;
      word += quoted.text;
      at = quoted.next;
      // A closing quote is followed by a blank or nothing.
      if (at < line.length && !isSpace(line[at] as string)) return null;
    }
    words.push(word);
  }
}

function isSpace(char: string): boolean {
  return char === ' ' || (char >= '\t' && char <= '\r') || char === '\0';
}

interface Quoted {
  readonly text: string;
  readonly next: number;
}

function readDouble(line: string, start: number): Quoted | null {
  let text = '';
  for (let at = start; at < line.length; at++) {
    const char = line[at] as string;
    if (char === '"') return { text, next: at + 1 };
    if (char !== '\\') {
      text += char;
      continue;
    }
    const hex = /^x([0-9a-f]{2})/i.exec(line.slice(at + 1, at + 4));
    if (hex !== null) {
      text += String.fromCharCode(Number.parseInt(hex[1] as string, 16));
      at += 3;
    } else if (at + 1 < line.length) {
      const next = line[++at] as string;
      text += ESCAPES[next] ?? next;
    }
  }
  return null;
}

function readSingle(line: string, start: number): Quoted | null {
  let text = '';
  for (let at = start; at < line.length; at++) {
    const char = line[at] as string;
    if (char === "'") return { text, next: at + 1 };
    if (char === '\\' && line[at + 1] === "'") at++;
    text += line[at] as string;
  }
  return null;
}
