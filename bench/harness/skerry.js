#!/usr/bin/env node
// Skerry as the published package runs it: from dist/, without the checkout's TypeScript. package.ts builds it.
import { run } from '../../dist/src/cli/main.js';

await run(process.argv);
