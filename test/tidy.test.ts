/**
 * The house rules that a program can check: which room may import which, what the pure core may name, how long files are,
 * that nothing is dead or left over, and that the documents keep up with the code.
 */
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import test from 'ava';
import { limits } from '../src/core/limits.ts';
import { codeOf, filesUnder, importsOf, linesWith, root, textOf, type Import } from './tidy/source.ts';

const productFiles = ['src', 'shards', 'workers']
  .flatMap((folder) => filesUnder(folder, ['.ts', '.js']))
  .filter((path) => !/^src\/sharedarraybuffer-ring\/(test|bench)\//.test(path));
const allCode = [
  ...new Set(
    ['src', 'shards', 'workers', 'test', 'bench', 'ops'].flatMap((folder) => filesUnder(folder, ['.ts', '.js'])),
  ),
];
const documents = filesUnder('', ['.md']);

/**
 * Rooms, and the rooms each may import from besides itself. A room is a folder; the longest name that fits a path wins.
 *
 *     core ← codec, sharedarraybuffer-ring ← engine, storage, net, observe ← gateway, client
 *     core, codec, sharedarraybuffer-ring, engine, storage, observe ← shards ← workers, server
 *     server starts workers by URL, never by import
 */
const core = ['src/core'];
const bytes = [...core, 'src/codec', 'src/sharedarraybuffer-ring'];
const devices = [...bytes, 'src/engine', 'src/storage', 'src/net', 'src/observe'];
const mayImport: Readonly<Record<string, readonly string[]>> = {
  'src/core': [],
  'src/codec': core,
  // A package of its own: it depends on nothing.
  'src/sharedarraybuffer-ring': [],
  'src/engine': bytes,
  'src/storage': bytes,
  'src/net': bytes,
  'src/observe': bytes,
  'src/gateway': devices,
  'src/client': devices,
  // The node embedded in a process offers the client's transport.
  'src/server': [...devices, 'src/gateway', 'src/client', 'shards'],
  // The load generator: one more user of the client, and of bare sockets.
  'src/bench': [...core, 'src/net', 'src/observe', 'src/client'],
  'src/cli': [...devices, 'src/gateway', 'src/client', 'src/server', 'src/bench'],
  'src/index.ts': [...core, 'src/client', 'src/server'],
  shards: [...bytes, 'src/engine', 'src/storage', 'src/observe'],
  workers: [...devices, 'src/gateway', 'src/bench', 'shards'],
};

/** The rules name what they forbid. */
const notThisFile = (path: string): boolean => path !== 'test/tidy.test.ts';

function roomOf(path: string): string | undefined {
  return Object.keys(mayImport)
    .filter((room) => path === room || path.startsWith(`${room}/`))
    .toSorted((a, b) => b.length - a.length)[0];
}

const loads = ({ kind }: Import): boolean => kind !== 'url';

test('imports go one way, from room to room as the design draws them', (t) => {
  const broken = productFiles.flatMap((path) => {
    const room = roomOf(path);
    if (room === undefined) return [`${path} is in no room that the design knows`];
    return importsOf(path)
      .filter(loads)
      .flatMap(({ path: target }) => {
        if (target === null) return [];
        const other = roomOf(target);
        if (other === room || (other !== undefined && mayImport[room]?.includes(other))) return [];
        const allowed = mayImport[room]?.join(', ') || 'nothing outside itself';
        return [`${path} imports ${target}: ${room} may import ${allowed}`];
      });
  });
  t.deepEqual(broken, []);
});

test('every relative import names a file that is there, with its ending', (t) => {
  const broken = allCode.flatMap((path) =>
    importsOf(path)
      .filter(({ kind, path: target }) => kind !== 'url' && target !== null && !existsSync(join(root, target)))
      .map(({ specifier }) => `${path}: ${specifier}`),
  );
  t.deepEqual(broken, []);
});

test('the core knows no clock, no chance, no promise and no Node', (t) => {
  const banned =
    /\b(?:Date|performance|Promise|async|await|setTimeout|setInterval|setImmediate|queueMicrotask|process|globalThis|crypto|fetch|Atomics|Worker)\b|\bMath\.random\b/;
  const broken = filesUnder('src/core', ['.ts']).flatMap((path) => [
    ...linesWith(codeOf(path), banned).map((line) => `${path}:${line}`),
    ...importsOf(path)
      .filter((imported) => imported.path === null)
      .map(({ specifier }) => `${path} imports ${specifier}`),
  ]);
  t.deepEqual(broken, []);
});

test('the ring depends on no package', (t) => {
  const broken = productFiles
    .filter((path) => path.startsWith('src/sharedarraybuffer-ring/'))
    .flatMap((path) =>
      importsOf(path).filter((imported) => imported.path === null && !imported.specifier.startsWith('node:')),
    );
  t.deepEqual(broken, []);
});

test('packages are imported only if package.json names them, and the product imports no development package', (t) => {
  const { dependencies, devDependencies } = JSON.parse(textOf('package.json')) as Record<
    string,
    Record<string, string>
  >;
  const known = (path: string): Record<string, string> =>
    productFiles.includes(path) ? { ...dependencies } : { ...dependencies, ...devDependencies };
  const broken = allCode.flatMap((path) =>
    importsOf(path)
      .filter(({ specifier, path: target }) => target === null && !specifier.startsWith('node:'))
      .filter(({ kind }) => kind !== 'url')
      .map(({ specifier }) =>
        specifier
          .split('/')
          .slice(0, specifier.startsWith('@') ? 2 : 1)
          .join('/'),
      )
      .filter((name) => !Object.hasOwn(known(path), name) && name !== 'skerry')
      .map((name) => `${path} imports ${name}`),
  );
  t.deepEqual(broken, []);
});

test('the main file of a thread only wires: it is short and defines nothing', (t) => {
  const WIRING_LINES_MAX = 150;
  const mains = filesUnder('workers', ['.worker.ts']);
  const broken = mains.flatMap((path) => {
    const code = codeOf(path);
    const lines = code.split('\n').filter((line) => line.trim() !== '').length;
    return [
      ...(lines > WIRING_LINES_MAX ? [`${path} has ${lines} lines of code; ${WIRING_LINES_MAX} at most`] : []),
      ...linesWith(code, /^\s*(?:export\s+)?class\b|\bwhile\s*\(|\bswitch\s*\(/).map(
        (line) => `${path}:${line} is logic`,
      ),
    ];
  });
  t.deepEqual(broken, []);
});

test('a file fits a head: 450 lines at most', (t) => {
  const FILE_LINES_MAX = 450;
  /** Longer ones, each with the reason. */
  const exceptions: Readonly<Record<string, string>> = {};
  const long = allCode.filter((path) => textOf(path).split('\n').length - 1 > FILE_LINES_MAX);
  t.deepEqual(
    long.filter((path) => !Object.hasOwn(exceptions, path)),
    [],
  );
  t.deepEqual(
    Object.keys(exceptions).filter((path) => !long.includes(path)),
    [],
    'exceptions that are none any more',
  );
});

test('a file of the product says in its first lines what it is for', (t) => {
  const silent = productFiles.filter((path) => !/^(?:#!.*\n)?(?:\/\*|\/\/)/.test(textOf(path)));
  t.deepEqual(silent, []);
});

test('nothing is left over: no notes to self, no debugging, no test run alone', (t) => {
  const notes = /\b(?:TODO|FIXME|XXX|HACK)\b/;
  const debugging = /\bdebugger\b|\btest(?:\.serial)?\.only\(|@ts-(?:ignore|nocheck|expect-error)/;
  const broken = [
    ...[...allCode, ...documents]
      .filter(notThisFile)
      .flatMap((path) => linesWith(textOf(path), notes).map((line) => `${path}:${line} a note`)),
    ...allCode.flatMap((path) => linesWith(codeOf(path), debugging).map((line) => `${path}:${line} debugging`)),
    ...allCode
      .filter((path) => !/^(?:src\/cli|bench|test\/sim|ops|src\/sharedarraybuffer-ring\/bench)\//.test(path))
      .flatMap((path) => linesWith(codeOf(path), /\bconsole\./).map((line) => `${path}:${line} console`)),
  ];
  t.deepEqual(broken, []);
});

test('errors are not swallowed: no empty catch', (t) => {
  const broken = productFiles.filter((path) => /\bcatch\s*(?:\([^)]*\)\s*)?\{\s*\}/.test(codeOf(path)));
  t.deepEqual(broken, []);
});

test('no file is dead: each is reached from the library, the command or a thread', (t) => {
  const { bin } = JSON.parse(textOf('package.json')) as { bin: Record<string, string> };
  const entries = ['src/index.ts', ...Object.values(bin), ...filesUnder('workers', ['.worker.ts'])].map((path) =>
    normalize(path),
  );
  t.deepEqual(
    entries.filter((path) => !existsSync(join(root, path))),
    [],
    'entries that are missing',
  );
  const reached = new Set<string>();
  const visit = (path: string): void => {
    if (reached.has(path) || !existsSync(join(root, path))) return;
    reached.add(path);
    for (const { path: target } of importsOf(path)) if (target !== null && /\.[tj]s$/.test(target)) visit(target);
  };
  for (const entry of entries) visit(entry);
  t.deepEqual(
    productFiles.filter((path) => !reached.has(path)),
    [],
  );
});

test('no exported function, class or constant is unused', (t) => {
  const words = new Map(allCode.map((path) => [path, new Set(codeOf(path).match(/[\w$]+/g))]));
  const published = new Set(['src/index.ts', 'src/sharedarraybuffer-ring/index.ts']);
  const unused = productFiles
    .filter((path) => !published.has(path))
    .flatMap((path) =>
      [...codeOf(path).matchAll(/^export\s+(?:async\s+)?(?:function\*?|class|const|let)\s+([\w$]+)/gm)]
        .map((match) => match[1] as string)
        .filter((name) => ![...words].some(([other, used]) => other !== path && used.has(name)))
        .map((name) => `${path}: ${name}`),
    );
  t.deepEqual(unused, []);
});

test('docs/errors.md describes every error code, and no other', (t) => {
  const codes = [...textOf('src/core/errors.ts').matchAll(/^\s*\| '(KV_[A-Z_]+)'/gm)].map(
    (match) => match[1] as string,
  );
  const described = [...textOf('docs/errors.md').matchAll(/^\| `(KV_[A-Z_]+)`/gm)].map((match) => match[1] as string);
  t.true(codes.length > 10);
  t.deepEqual(described.toSorted(), codes.toSorted());
});

test('docs/limits.md describes every limit with its value, and no other', (t) => {
  const described = [...textOf('docs/limits.md').matchAll(/^\| `(\w+)` *\| ([^|]+?) *\|/gm)].map((match) => [
    match[1],
    match[2],
  ]);
  const actual = Object.entries(limits).map(([name, value]) => [name, value.toLocaleString('en-US')]);
  t.deepEqual(described.toSorted(), actual.toSorted());
});

/** The anchors that a document's headings give. */
function slugsOf(path: string): string[] {
  return [...textOf(path).matchAll(/^#+ +(.+)$/gm)].map((match) =>
    (match[1] as string)
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(/\s/g, '-'),
  );
}

test('every link between documents leads to a file that is there, and to a heading that it has', (t) => {
  const broken = documents.flatMap((path) => {
    const prose = textOf(path)
      .replaceAll(/^```.*?^```/gms, '')
      .replaceAll(/`[^`\n]*`/g, '');
    return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].flatMap((match) => {
      const link = match[1] as string;
      if (/^(?:https?|mailto):/.test(link)) return [];
      const [file, heading] = link.split('#') as [string, string?];
      const target = file === '' ? path : normalize(join(dirname(path), file));
      if (!existsSync(join(root, target))) return [`${path}: ${link}`];
      return heading === undefined || slugsOf(target).includes(heading) ? [] : [`${path}: ${link} has no such heading`];
    });
  });
  t.deepEqual(broken, []);
});

test('docs/README.md lists every document', (t) => {
  const index = textOf('docs/README.md');
  const missing = documents
    .filter((path) => path.startsWith('docs/') && path !== 'docs/README.md')
    .filter((path) => !index.includes(`](${path.slice('docs/'.length)})`));
  t.deepEqual(missing, []);
});

test('no path of a machine and no registry stands in a file', (t) => {
  const files = filesUnder('', ['.ts', '.js', '.json', '.md', '.yml', '.yaml', '.sh', '.npmrc', 'run']);
  const machine = /(?<![\w.~-])\/(?:home|Users|root|work)\/\w/;
  const registry = /"resolved": "http|registry\s*=|registry\.\w+\./;
  const broken = files
    .filter(notThisFile)
    .flatMap((path) => [
      ...linesWith(textOf(path), machine).map((line) => `${path}:${line} names a folder of one machine`),
      ...linesWith(textOf(path), registry).map((line) => `${path}:${line} names a registry`),
    ]);
  t.deepEqual(broken, []);
});
