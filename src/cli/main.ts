// The command line: one commander program; what a command does is in the file of its name.
import { Command, CommanderError } from 'commander';
import { describeConfig } from '../config/describe.ts';
import { flagDefinitions, normalizeFlags } from '../config/flags.ts';
import { type LoadedConfig, loadConfig } from '../config/load.ts';
import { Mailbox } from '../std/async.ts';
import { ConfigError, messageOf } from '../std/errors.ts';
import { agentVersion, kubernetesVersion } from '../std/version.ts';
import { AgentClient, CommandError } from './client.ts';
import { diff } from './diff.ts';
import { type DoctorTarget, doctor } from './doctor.ts';
import { type GetOptions, get } from './get.ts';
import { kubeconfig } from './kubeconfig.ts';
import { logs } from './logs.ts';
import type { InputIo } from './manifest-files.ts';
import { manifests } from './manifests.ts';
import { runValidate } from './validate.ts';

export interface CliInput {
  /** Without the program's own name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly io: InputIo;
  readonly writeLog: (line: string) => void;
  /** Called once by a command that can read its configuration again; `listener` then runs at every request to do so. */
  readonly onReload: (listener: () => void) => void;
}

/** The exit code: 0, 1 for a failed command, 2 for a command line or configuration that cannot be used. */
export async function main(input: CliInput): Promise<number> {
  let exitCode = 0;
  const { io } = input;
  const program = new Command('pinpod')
    .description('Keeps Kubernetes static Pods running on one machine')
    .version(`pinpod ${agentVersion} (Kubernetes ${kubernetesVersion})`)
    .exitOverride()
    .configureOutput({ writeOut: (text) => void io.out(text), writeErr: (text) => void io.err(text) });
  const done = (code: number): void => {
    exitCode = code;
  };

  addConfigFlags(program.command('run').description('run the agent in the foreground')).action(async (_options, command: Command) => {
    const loaded = load(command, input);
    // Loaded here only: no other command needs the agent's weight.
    const { run } = await import('./run.ts');
    const reloads = new Mailbox<void>();
    input.onReload(() => reloads.put());
    const readConfig = (): LoadedConfig => load(command, input);
    await run({ loaded, readConfig, reloads, env: input.env, writeLog: input.writeLog, signal: io.signal });
  });
  addConfigFlags(program.command('config').description('print the effective configuration and where each value comes from')).action(
    async (_options, command: Command) => {
      for (const setting of describeConfig(load(command, input))) {
        await io.out(`${setting.name}: ${JSON.stringify(setting.value)}  # ${setting.origin}\n`);
      }
    },
  );

  const client = (command: Command): AgentClient => new AgentClient({ socketPath: loadFor(command, input).config.agentSocketPath });
  talking(program.command('get <resource> [name]').description('list pods, nodes, events, namespaces as kubectl does'))
    .option('-n, --namespace <namespace>', 'namespace', 'default')
    .option('-A, --all-namespaces', 'all namespaces', false)
    .option('-l, --selector <selector>', 'label selector')
    .option('--field-selector <selector>', 'field selector')
    .option('-o, --output <format>', 'wide, json, yaml or name')
    .option('-w, --watch', 'go on and show changes', false)
    .option('--no-headers', 'without column names')
    .action(async (resource: string, name: string | undefined, options: GetFlags, command: Command) => {
      const { headers, ...rest } = options;
      done(await get({ ...rest, resource, name, noHeaders: !headers }, { client: client(command), io }));
    });
  talking(program.command('logs <pod>').description("print a container's log"))
    .option('-n, --namespace <namespace>', 'namespace', 'default')
    .option('-c, --container <name>', 'container')
    .option('-f, --follow', 'go on as the log grows', false)
    .option('-p, --previous', 'of the run before', false)
    .option('--timestamps', 'with the time of each line', false)
    .option('--tail <lines>', 'only the last lines', wholeNumber)
    .option('--since <seconds>', 'only what is newer', wholeNumber)
    .option('--all-containers', 'of all containers', false)
    .action(async (pod: string, options: LogsFlags, command: Command) => {
      done(await logs({ ...options, pod }, { client: client(command), io }));
    });
  talking(program.command('doctor').description('what is wrong here, and what to do about it; exits with 1 when something is'))
    .option('-o, --output <format>', 'json')
    .action(async (options: { output?: string }, command: Command) => {
      const target = (): DoctorTarget => {
        const { config, warnings } = loadFor(command, input);
        return {
          socketPath: config.agentSocketPath,
          runtimeEndpoint: config.containerRuntimeEndpoint,
          manifestPath: config.staticPodPath,
          warnings,
        };
      };
      const validate = async (path: string): Promise<readonly string[]> => {
        let text = '';
        const out = async (part: string | Uint8Array): Promise<void> => {
          text += String(part);
        };
        const { nodeName } = loadFor(command, input).config;
        await runValidate({ paths: [path], nodeName }, { ...io, out, err: async () => undefined });
        return text.split('\n').filter((line) => line !== '');
      };
      done(await doctor({ output: jsonOutput(options) }, { io, target, validate }));
    });
  talking(program.command('manifests').description('what became of every manifest, and why'))
    .option('-o, --output <format>', 'json')
    .action(async (options: { output?: string }, command: Command) => {
      done(await manifests({ output: jsonOutput(options) }, { client: client(command), io }));
    });
  program
    .command('validate <path...>')
    .description('check manifests: files, folders or - for standard input; needs no agent')
    .option('-o, --output <format>', 'json')
    .option('--node-name <name>', 'the node that the names of Pods end in')
    .action(async (paths: readonly string[], options: { output?: string; nodeName?: string }) => {
      done(await runValidate({ paths, output: jsonOutput(options), nodeName: options.nodeName }, io));
    });
  talking(program.command('diff <path...>').description('what manifests would change here: files, folders or - for standard input'))
    .option('-o, --output <format>', 'json')
    .option('--prune', 'they take the place of all manifests: what is not among them would be gone', false)
    .addHelpText('after', '\nExit codes: 0 nothing would change, 1 something would, 2 it cannot be told.')
    .action(async (paths: readonly string[], options: { output?: string; prune: boolean }, command: Command) => {
      done(await diff({ paths, output: jsonOutput(options), prune: options.prune }, { client: client(command), io }));
    });
  addConfigFlags(program.command('kubeconfig').description('print the kubeconfig for kubectl, or merge it into your own'))
    .option('--merge <file>', 'merge it into this file')
    .option('--use', 'make it the current context', false)
    .action(async (options: { merge?: string; use: boolean }, command: Command) => {
      const { localKubeconfigPath } = load(command, input).config;
      done(await kubeconfig({ path: localKubeconfigPath, mergeInto: options.merge, use: options.use }, { io }));
    });

  try {
    await program.parseAsync(normalizeFlags(input.argv), { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof ConfigError) {
      await io.err(`${messageOf(error).replace(/^/gm, 'pinpod: ')}\n`);
      return 2;
    }
    if (error instanceof CommandError) {
      await io.err(`error: ${messageOf(error)}\n`);
      return 1;
    }
    throw error;
  }
}

interface GetFlags extends Omit<GetOptions, 'resource' | 'name' | 'noHeaders'> {
  readonly headers: boolean;
}

interface LogsFlags {
  readonly namespace: string;
  readonly container?: string;
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  readonly tail?: number;
  readonly since?: number;
  readonly allContainers: boolean;
}

function jsonOutput({ output }: { readonly output?: string }): 'json' | undefined {
  if (output !== undefined && output !== 'json') throw new CommandError('--output takes json');
  return output;
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new CommandError(`${text} is not a whole number`);
  return Number(text);
}

/** A command that talks to the running agent. */
function talking(command: Command): Command {
  return command
    .option('--run-dir <path>', 'folder of the agent’s socket')
    .option('--config <path>', 'the configuration the agent was started with');
}

/** The configuration of the agent that a command talks to. */
function loadFor(command: Command, input: CliInput): LoadedConfig {
  const options = command.opts<{ runDir?: string; config?: string }>();
  const flags = {
    ...(options.runDir === undefined ? {} : { 'run-dir': [options.runDir] }),
    ...(options.config === undefined ? {} : { config: [options.config] }),
  };
  return loadConfig({ flags, env: input.env });
}

function addConfigFlags(command: Command): Command {
  for (const flag of flagDefinitions) {
    const value = flag.valueOptional ? ` [${flag.valueName}]` : ` <${flag.valueName}>`;
    const option = command.createOption(`${flag.name.length === 1 ? '-' : '--'}${flag.name}${value}`, flag.help);
    if (flag.hidden) option.hideHelp();
    option.argParser<readonly string[]>((text, before: readonly string[] | undefined) => [...(before ?? []), text]);
    if (flag.valueOptional) option.preset('');
    command.addOption(option);
  }
  return command;
}

function load(command: Command, input: CliInput): LoadedConfig {
  const flags: Record<string, readonly string[]> = {};
  for (const option of command.options) {
    const name = (option.long ?? option.short)?.replace(/^-+/, '');
    const value: unknown = command.getOptionValue(option.attributeName());
    if (name !== undefined && Array.isArray(value)) flags[name] = value.map(String);
  }
  return loadConfig({ flags, env: input.env });
}
