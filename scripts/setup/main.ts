// `npm run setup`, second stage: Debian packages, the bundle, the offline images. Each step looks first whether there
// is anything to do. Options: `--test` (also what only tests need), `--bundle` (that step alone).
import { existsSync } from 'node:fs';
import path from 'node:path';
import { bundle, bundleIsUpToDate } from './bundle.ts';
import { missingReleases, unpackReleases } from './containerd-releases.ts';
import { imagesAreUpToDate, makeImages } from './images.ts';
import { missingKubectls, unpackKubectls } from './kubectl-releases.ts';
import { fetchNodes, missingNodes } from './nodes.ts';
import { missingPackages, missingTestPackages } from './packages.ts';
import { hasPromtool, unpackPromtool } from './promtool.ts';
import { installPackages, SetupError } from './system.ts';
import { missingPrograms, unpackPrograms } from './test-programs.ts';

const checkout = path.join(import.meta.dirname, '..', '..');

interface Step {
  readonly name: string;
  /** What there is to do, for the person to read; undefined when nothing. */
  needed(): string | undefined;
  act(): void | Promise<void>;
  /** A failure is said, and the rest goes on. */
  readonly isOptional?: boolean;
}

const bundleStep: Step = {
  name: 'bundle',
  needed: () => (!existsSync(path.join(checkout, 'src', 'main.ts')) || bundleIsUpToDate(checkout) ? undefined : 'dist/pinpod.cjs'),
  act: () => bundle(checkout),
};

const steps: readonly Step[] = [
  {
    name: 'Debian packages',
    needed: () => {
      const missing = missingPackages();
      return missing.length === 0 ? undefined : missing.join(', ');
    },
    act: () => installPackages(missingPackages()),
  },
  {
    name: 'offline images',
    needed: () => (imagesAreUpToDate(checkout) ? undefined : 'pause, busybox, nginx'),
    act: () => makeImages(checkout),
  },
  bundleStep,
];

const testSteps: readonly Step[] = [
  {
    name: 'Debian packages for the tests',
    needed: () => {
      const missing = missingTestPackages();
      return missing.length === 0 ? undefined : missing.join(', ');
    },
    act: () => installPackages(missingTestPackages()),
    isOptional: true,
  },
  {
    name: 'newer containerd releases for the tests',
    needed: () => {
      const missing = missingReleases(checkout);
      return missing.length === 0 ? undefined : missing.join(', ');
    },
    act: () => unpackReleases(checkout),
    isOptional: true,
  },
  {
    name: 'programs the tests run in containers',
    needed: () => {
      const missing = missingPrograms(checkout);
      return missing.length === 0 ? undefined : missing.join(', ');
    },
    act: () => unpackPrograms(checkout),
    isOptional: true,
  },
  {
    name: 'other Nodes for the tests',
    needed: () => {
      const missing = missingNodes(checkout);
      return missing.length === 0 ? undefined : missing.join(', ');
    },
    act: () => fetchNodes(checkout),
    isOptional: true,
  },
  {
    name: 'kubectl for the tests',
    needed: () => {
      const missing = missingKubectls(checkout);
      return missing.length === 0 ? undefined : missing.join(', ');
    },
    act: () => unpackKubectls(checkout),
    isOptional: true,
  },
  {
    name: 'promtool for the tests',
    needed: () => (hasPromtool(checkout) ? undefined : 'promtool'),
    act: () => unpackPromtool(checkout),
    isOptional: true,
  },
];

function chosenSteps(args: readonly string[]): readonly Step[] {
  if (args.includes('--bundle')) return [bundleStep];
  return args.includes('--test') ? [...steps, ...testSteps] : steps;
}

for (const step of chosenSteps(process.argv)) {
  const needed = step.needed();
  if (needed === undefined) continue;
  console.error(`setup: ${step.name}: ${needed}`);
  try {
    await step.act();
  } catch (error) {
    const isOfTheMachine = error instanceof SetupError || (error instanceof Error && 'syscall' in error);
    if (!isOfTheMachine) throw error;
    console.error(`setup: ${step.name}: ${error.message}`);
    if (step.isOptional === true) continue;
    process.exit(1);
  }
}
