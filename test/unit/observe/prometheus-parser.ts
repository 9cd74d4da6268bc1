/**
 * A strict reader of Prometheus's text format 0.0.4, written from its description and not from our writer, so that
 * the two can disagree. Throws on anything that the description does not allow.
 */
import { strict as assert } from 'node:assert';

export interface ParsedSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ParsedFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: ParsedSample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*/;

function unescapeText(text: string, allowed: string): string {
  let out = '';
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== '\\') {
      out += text[i];
      continue;
    }
    i++;
    assert.ok(allowed.includes(text[i] ?? ' '), `bad escape in ${text}`);
    out += text[i] === 'n' ? '\n' : text[i];
  }
  return out;
}

function parseSample(line: string): ParsedSample {
  const name = NAME.exec(line)?.[0];
  assert.ok(name, `no metric name: ${line}`);
  let rest = line.slice(name.length);
  const labels: Record<string, string> = {};
  if (rest.startsWith('{')) {
    rest = rest.slice(1);
    while (!rest.startsWith('}')) {
      const label = LABEL.exec(rest)?.[0];
      assert.ok(label, `no label name: ${line}`);
      const quoted = /^="((?:[^"\\]|\\.)*)"/.exec(rest.slice(label.length));
      assert.ok(quoted, `no label value: ${line}`);
      assert.ok(!(label in labels), `label twice: ${line}`);
      labels[label] = unescapeText(quoted[1] as string, '\\"n');
      rest = rest.slice(label.length + quoted[0].length);
      if (rest.startsWith(',')) rest = rest.slice(1);
      else assert.ok(rest.startsWith('}'), `labels do not end: ${line}`);
    }
    rest = rest.slice(1);
  }
  const number = /^ (NaN|[+-]Inf|[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(rest)?.[1];
  assert.ok(number, `no value: ${line}`);
  return { name, labels, value: Number(number.replace('Inf', 'Infinity')) };
}

function checkHistogram({ name, samples }: ParsedFamily): void {
  const series = new Map<string, ParsedSample[]>();
  for (const sample of samples) {
    const { le: _le, ...labels } = sample.labels;
    const key = JSON.stringify(labels);
    series.set(key, [...(series.get(key) ?? []), sample]);
  }
  for (const members of series.values()) {
    const buckets = members.filter((sample) => sample.name === `${name}_bucket`);
    const edges = buckets.map((sample) => Number((sample.labels['le'] as string).replace('Inf', 'Infinity')));
    assert.equal(edges.at(-1), Infinity, 'the last bucket is +Inf');
    for (let i = 1; i < buckets.length; i++) {
      assert.ok((edges[i] as number) > (edges[i - 1] as number), 'edges rise');
      assert.ok((buckets[i]?.value as number) >= (buckets[i - 1]?.value as number), 'buckets are cumulative');
    }
    const count = members.filter((sample) => sample.name === `${name}_count`);
    assert.equal(count.length, 1);
    assert.equal(count[0]?.value, buckets.at(-1)?.value, 'count equals the +Inf bucket');
    assert.equal(members.filter((sample) => sample.name === `${name}_sum`).length, 1);
    assert.equal(members.length, buckets.length + 2);
  }
}

export function parsePrometheus(text: string): Map<string, ParsedFamily> {
  assert.ok(text.endsWith('\n'), 'the last line ends with a line feed');
  const families = new Map<string, ParsedFamily>();
  const seen = new Set<string>();
  let family: ParsedFamily | undefined;
  let help: { name: string; text: string } | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (comment?.[1] === 'HELP') {
      help = { name: comment[2] as string, text: unescapeText(comment[3] as string, '\\n') };
    } else if (comment) {
      const name = comment[2] as string;
      assert.match(name, new RegExp(`${NAME.source}$`));
      assert.match(comment[3] as string, /^(counter|gauge|histogram)$/);
      assert.equal(help?.name, name, 'HELP stands before TYPE');
      assert.ok(!families.has(name), `${name}: one block per family`);
      family = { name, type: comment[3] as string, help: help?.text ?? '', samples: [] };
      families.set(name, family);
    } else {
      assert.ok(family, `sample before TYPE: ${line}`);
      const sample = parseSample(line);
      const names =
        family.type === 'histogram'
          ? ['_bucket', '_sum', '_count'].map((suffix) => family?.name + suffix)
          : [family.name];
      assert.ok(names.includes(sample.name), `${sample.name} in the block of ${family.name}`);
      const key = sample.name + JSON.stringify(Object.entries(sample.labels).toSorted());
      assert.ok(!seen.has(key), `series twice: ${line}`);
      seen.add(key);
      family.samples.push(sample);
    }
  }
  for (const parsed of families.values()) {
    assert.ok(parsed.samples.length > 0, `${parsed.name} has no samples`);
    if (parsed.type === 'histogram') checkHistogram(parsed);
  }
  return families;
}
