/** Pieces of Markdown that programs write: of the generated documents and of the page of results. */

/** A table as the formatter writes it: columns padded to their widest cell. */
export function table(head: readonly string[], body: readonly (readonly string[])[]): string[] {
  const rows = [head, ...body].map((cells) => cells.map((cell) => cell.replaceAll('|', '\\|')));
  const widths = head.map((_, column) => Math.max(3, ...rows.map((cells) => (cells[column] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const [first = '', ...rest] = rows.map(line);
  return [first, line(widths.map((width) => '-'.repeat(width))), ...rest];
}

/**
 * `document` with `lines` between the comments `<!-- name -->` and `<!-- /name -->`, in place of what stood there. Throws
 * Error when it has no such place.
 */
export function replaceSection(document: string, name: string, lines: readonly string[]): string {
  const [from, to] = [`<!-- ${name} -->\n`, `<!-- /${name} -->`];
  const start = document.indexOf(from);
  const end = document.indexOf(to, start);
  if (start < 0 || end < 0) throw new Error(`the document has no place for ${name}: ${from.trim()} … ${to}`);
  return `${document.slice(0, start + from.length)}\n${lines.join('\n')}\n\n${document.slice(end)}`;
}
