/** What commands print: data to stdout, talk to stderr; bytes as they are, or as text that a terminal can show. */

/** Bytes as text: printable UTF-8 stays, everything else becomes \xHH. */
export function printable(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString();
  const isText = Buffer.from(text).equals(Buffer.from(bytes)) && !/\p{Cc}/u.test(text);
  if (isText) return text.replaceAll('\\', '\\\\');
  let shown = '';
  for (const byte of bytes) {
    if (byte === 0x5c) shown += '\\\\';
    else if (byte >= 0x20 && byte < 0x7f) shown += String.fromCharCode(byte);
    else shown += `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return shown;
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Columns, each as wide as its widest cell. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(all[i] ?? 0, cell.length)), []);
  for (const row of rows) {
    printLine(
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    );
  }
}
