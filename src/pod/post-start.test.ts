import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plan, recordOf } from '../../test/support/plans.ts';
import { buildContainer, buildPod, observedPod } from '../../test/support/pods.ts';
import { probedPart } from './post-start.ts';
import type { PodMemory } from './work.ts';

const hooked = buildContainer({ lifecycle: { postStart: { exec: { command: ['/hi'] } } } });
const pod = buildPod({ containers: [hooked] });

const rows: readonly (readonly [string, ReadonlyMap<string, 'pending' | 'done' | 'failed'>, readonly string[], boolean])[] = [
  ['its start is not over yet', new Map(), ['StartContainer/app0'], false],
  ['its hook runs', new Map([['app0', 'pending']]), ['RunPostStart/app0'], false],
  ['its hook failed', new Map([['app0', 'failed']]), [], false],
  ['its hook is done', new Map([['app0', 'done']]), [], true],
  ['it ran before this agent (L-433)', new Map(), [], true],
];
for (const [name, postStart, underWay, hasStarted] of rows) {
  test(`a container with a postStart hook has started, and is probed, when that has ended: ${name} (L-399, L-420, L-431)`, () => {
    const record = recordOf(hooked);
    const memory: Partial<PodMemory> = { postStart };
    const status = plan({ spec: { containers: [hooked] }, containers: [record], memory, underWay }).status.containerStatuses?.[0];
    assert.deepEqual([status?.started, status?.ready], [hasStarted, hasStarted]);
    const [seen] = probedPart(pod, observedPod({ containers: [record] }), { postStart }, new Set(underWay)).containers;
    assert.equal(seen?.state, hasStarted ? 'running' : 'created');
  });
}
