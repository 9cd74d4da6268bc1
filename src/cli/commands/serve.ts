/** `skerry serve`: runs a node until it is told to stop. */
import { Option } from 'commander';
import type { Command } from 'commander';
import { parseSettings } from '../../server/config.ts';
import { startServer } from '../../server/server.ts';
import type { RunningServer } from '../../server/types.ts';
import { settingRows } from '../../server/settings.ts';
import { EXIT_FAILED } from '../exit-codes.ts';

const EXAMPLES = `
Examples:
  skerry serve                                   a store in ./data, on the default ports
  skerry serve --data-dir /var/lib/skerry --max-memory 4gb
  skerry serve --port 0 --resp-port 0 --json     free ports, printed as one line of JSON
  skerry serve --pre-split user:5,user:9         a new store of three ranges
  skerry serve --host 10.0.0.2 --join 10.0.0.1:7380      one more node of the cluster of 10.0.0.1`;

export function registerServe(program: Command): void {
  const command = program
    .command('serve')
    .description('Run a node')
    .option('--config <file>', 'Settings as JSON; flags and SKERRY_… variables override them.')
    .option('--json', 'Print the addresses as one line of JSON.')
    .addHelpText('after', EXAMPLES);
  for (const { flag, setting } of settingRows) {
    const { placeholder, help, defaultText } = setting;
    command.addOption(new Option(`${flag} ${placeholder}`.trim(), `${help} Default: ${defaultText}.`));
  }
  command.action(async ({ json, ...flags }: Record<string, unknown>) => {
    const ended = Promise.withResolvers<void>();
    const server = await startServer(parseSettings({ flags, env: process.env }), {
      listens: true,
      onFatal: ({ hint }) => {
        // A node that has drained has done what it should.
        process.exitCode = hint['left'] === true ? 0 : EXIT_FAILED;
        ended.resolve();
      },
    });
    // Before it is announced: whoever reads the announcement may ask for the end at once.
    process.once('SIGINT', ended.resolve);
    process.once('SIGTERM', ended.resolve);
    announce(server, json === true);
    await ended.promise;
    await server.close();
  });
}

function announce({ addresses, version }: RunningServer, asJson: boolean): void {
  const { host, port, respPort, httpPort } = addresses;
  if (asJson) {
    process.stdout.write(`${JSON.stringify({ version, ...addresses })}\n`);
    return;
  }
  process.stdout.write(
    `Skerry ${version} is ready.\n` +
      `  native  skerry://${host}:${port}\n` +
      `  Redis   redis://${host}:${respPort}\n` +
      `  admin   http://${host}:${httpPort}/status\n`,
  );
}
