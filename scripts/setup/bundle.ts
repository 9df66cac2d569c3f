// Bundles src/ and the npm packages it uses into dist/pinpod.cjs: CommonJS starts faster and stays smaller than ES
// modules do, and runs on Node 20 and later. Node keeps the whole text of a file for as long as one function of it
// lives, and reads all of it before the first line runs. So there are several: the program without the agent, which is
// all that most commands need, the whole program, and large packages that are seldom loaded.
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { SetupError } from './system.ts';

const entry = 'src/main.ts';
const target = 'dist/pinpod.cjs';

/** Imported with `import()` only; by package name, the file. */
const apart: Readonly<Record<string, string>> = {
  '@peculiar/x509': 'x509.cjs',
};

const agentFile = 'agent.cjs';
const commandsFile = 'commands.cjs';

/** The whole program wherever `run` is among the words: with one too many it only starts slower. */
const chooser = `require(process.argv.includes('run')?'./${agentFile}':'./${commandsFile}');\n`;

const common = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
} satisfies BuildOptions;

export function bundleIsUpToDate(checkout: string): boolean {
  const made = statSync(path.join(checkout, target), { throwIfNoEntry: false })?.mtimeMs;
  if (made === undefined) return false;
  const inputs = ['package-lock.json', 'package.json', 'scripts/setup/bundle.ts', ...filesBelow(checkout, 'src')];
  return inputs.every((name) => statSync(path.join(checkout, name)).mtimeMs <= made);
}

export async function bundle(checkout: string): Promise<void> {
  const folder = path.dirname(target);
  mkdirSync(path.join(checkout, folder), { recursive: true });
  for (const [name, file] of Object.entries(apart)) {
    await build({ ...common, absWorkingDir: checkout, entryPoints: [name], outfile: path.join(folder, file) });
  }
  const programs = { ...common, absWorkingDir: checkout, entryPoints: [entry] };
  await build({ ...programs, outfile: path.join(folder, agentFile), plugins: [leaveOut(apart)] });
  await build({ ...programs, outfile: path.join(folder, commandsFile), plugins: [leaveOut({ ...apart, './run.ts': agentFile })] });
  for (const file of [agentFile, commandsFile]) requireAscii(path.join(checkout, folder, file));
  // Last, for it says whether all is up to date.
  writeFileSync(path.join(checkout, target), chooser);
}

/** Imports of these become `require` of the files beside. */
function leaveOut(files: Readonly<Record<string, string>>): Plugin {
  return {
    name: 'leave out',
    setup: ({ onResolve }) => {
      onResolve({ filter: /./ }, ({ path: name }) => {
        const file = files[name];
        return file === undefined ? undefined : { path: `./${file}`, external: true };
      });
    },
  };
}

/** One character beyond ASCII, and V8 keeps the whole text with two bytes for each: megabytes for the life of the agent. */
function requireAscii(file: string): void {
  const text = readFileSync(file, 'latin1');
  // esbuild escapes strings, not regular expressions.
  const at = text.search(/[\x80-\xff]/);
  if (at < 0) return;
  rmSync(file);
  throw new SetupError(`the bundle has a character that is not ASCII, write it as \\u in: ${text.slice(Math.max(0, at - 60), at + 20)}`);
}

function filesBelow(checkout: string, folder: string): readonly string[] {
  return readdirSync(path.join(checkout, folder), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile() && !file.name.endsWith('.test.ts'))
    .map((file) => path.join(path.relative(checkout, file.parentPath), file.name));
}
