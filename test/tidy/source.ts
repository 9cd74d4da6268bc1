/**
 * What the tidy test reads of the project: its files, their code without comments and strings, and what they import.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Nothing in these is ours to check. */
const foreignFolders = new Set(['node_modules', 'dist', '.git', 'data', 'results', 'transcripts']);

/** Paths from the project's root, with /, of all files under `folder` whose name ends in one of `endings`. */
export function filesUnder(folder: string, endings: readonly string[]): string[] {
  const absolute = join(root, folder);
  if (!existsSync(absolute)) return [];
  return readdirSync(absolute, { withFileTypes: true })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) return foreignFolders.has(entry.name) ? [] : filesUnder(path, endings);
      return endings.some((ending) => entry.name.endsWith(ending)) ? [path] : [];
    });
}

const texts = new Map<string, string>();
const strippedFiles = new Map<string, Stripped>();

export function textOf(path: string): string {
  const text = texts.get(path) ?? readFileSync(join(root, path), 'utf8');
  texts.set(path, text);
  return text;
}

export function strippedFile(path: string): Stripped {
  const stripped = strippedFiles.get(path) ?? strip(textOf(path));
  strippedFiles.set(path, stripped);
  return stripped;
}

export const codeOf = (path: string): string => strippedFile(path).code;

export interface Stripped {
  /** Same length and lines as the source; comments and the insides of strings, templates and patterns are blank. */
  readonly code: string;
  /** The same, but with strings kept: import specifiers are in them. */
  readonly codeWithStrings: string;
}

/** After these a slash begins a pattern; after anything else it divides. */
const beforePattern =
  /(?:^|[=(,:;!&|?{}[+\-*%<>~^]|=>|\b(?:return|typeof|case|in|of|do|else|yield|await|throw|void))\s*$/;

function blank(target: string[], from: number, to: number): void {
  for (let i = from; i < to; i++) if (target[i] !== '\n') target[i] = ' ';
}

/** Reads TypeScript far enough to know code from comments, strings, templates (nested ones too) and patterns. */
export function strip(source: string): Stripped {
  const code = [...source];
  const codeWithStrings = [...source];
  /** Depth of braces at which each open `${` began. */
  const templates: number[] = [];
  let braces = 0;

  const templateText = (from: number): number => {
    let i = from;
    while (i < source.length && source[i] !== '`' && !source.startsWith('${', i)) i += source[i] === '\\' ? 2 : 1;
    blank(code, from, i);
    if (source[i] === '`') return i + 1;
    templates.push(braces++);
    return i + 2;
  };

  for (let i = 0; i < source.length;) {
    const character = source[i] as string;
    if (source.startsWith('//', i) || source.startsWith('/*', i)) {
      const block = source[i + 1] === '*';
      const found = source.indexOf(block ? '*/' : '\n', i + 2);
      const end = found < 0 ? source.length : found + (block ? 2 : 0);
      blank(code, i, end);
      blank(codeWithStrings, i, end);
      i = end;
    } else if (character === "'" || character === '"') {
      let end = i + 1;
      while (end < source.length && source[end] !== character && source[end] !== '\n')
        end += source[end] === '\\' ? 2 : 1;
      blank(code, i + 1, end);
      i = end + 1;
    } else if (character === '`') {
      i = templateText(i + 1);
    } else if (character === '/' && beforePattern.test(code.slice(Math.max(0, i - 40), i).join(''))) {
      let inClass = false;
      let end = i + 1;
      while (end < source.length && source[end] !== '\n' && (inClass || source[end] !== '/')) {
        if (source[end] === '[') inClass = true;
        if (source[end] === ']') inClass = false;
        end += source[end] === '\\' ? 2 : 1;
      }
      blank(code, i + 1, end);
      i = end + 1;
    } else {
      if (character === '{') braces++;
      if (character === '}') {
        braces--;
        if (templates.at(-1) === braces) {
          templates.pop();
          i = templateText(i + 1);
          continue;
        }
      }
      i++;
    }
  }
  return { code: code.join(''), codeWithStrings: codeWithStrings.join('') };
}

export interface Import {
  /** As written: './log.ts', 'node:fs', 'pino'. */
  readonly specifier: string;
  /** For relative ones, the path from the root; else null. */
  readonly path: string | null;
  /** `static`: import … from, export … from. `url`: new URL('…', import.meta.url), as threads are started. */
  readonly kind: 'static' | 'type' | 'dynamic' | 'url';
}

const importForms: readonly { readonly kind: Import['kind']; readonly pattern: RegExp }[] = [
  { kind: 'type', pattern: /^\s*(?:import|export)\s+type\s[^;'"]*?\bfrom\s*['"]([^'"]+)['"]/gm },
  { kind: 'static', pattern: /^\s*(?:import|export)(?!\s+type\s)\s[^;'"()]*?\bfrom\s*['"]([^'"]+)['"]/gm },
  { kind: 'static', pattern: /^\s*import\s*['"]([^'"]+)['"]/gm },
  { kind: 'dynamic', pattern: /\bimport\(\s*['"]([^'"]+)['"]/g },
  { kind: 'url', pattern: /\bnew URL\(\s*['"]([^'"]+)['"]\s*,\s*import\.meta\.url/g },
];

export function importsOf(path: string): Import[] {
  const { codeWithStrings } = strippedFile(path);
  return importForms.flatMap(({ kind, pattern }) =>
    [...codeWithStrings.matchAll(pattern)].map((match) => {
      const specifier = match[1] as string;
      const target = specifier.startsWith('.') ? resolve(root, dirname(path), specifier) : null;
      return { specifier, kind, path: target === null ? null : relative(root, target).split(sep).join('/') };
    }),
  );
}

/** The line, counted from 1, of each match of `pattern` in `text`. */
export function linesWith(text: string, pattern: RegExp): number[] {
  return text.split('\n').flatMap((line, i) => (pattern.test(line) ? [i + 1] : []));
}
