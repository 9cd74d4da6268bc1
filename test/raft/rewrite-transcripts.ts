/** Writes down anew what happens in each transcript: the commands stay, the rest is what the core does now. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { runScript } from '../support/raft-script.ts';

const folder = new URL('./transcripts/', import.meta.url);
for (const file of readdirSync(folder)) {
  const url = new URL(file, folder);
  writeFileSync(url, runScript(readFileSync(url, 'utf8')));
}
