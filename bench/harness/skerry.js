#!/usr/bin/env node
// Skerry as the published package runs it: from dist/, without the checkout's TypeScript. package.ts builds it.
const { run } = await import(new URL('../../dist/src/cli/main.js', import.meta.url).href);
await run(process.argv);
