import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';

import { annotationKeys, type Pod } from '../api/pod.ts';
import type { ManifestReport, SourceSnapshot } from '../source/source.ts';
import { differs, PodConfig } from './pod-config.ts';

type Change = { readonly [K in keyof Pod['metadata']]?: Pod['metadata'][K] } & { readonly image?: string };

function pod(name: string, { image = 'nginx', ...metadata }: Change = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', uid: `uid-${name}`, annotations: { [annotationKeys.configHash]: 'h' }, ...metadata },
    spec: { containers: [{ name: 'c', image }] },
  };
}

function snapshot(pods: readonly Pod[], more: Partial<SourceSnapshot> = {}): SourceSnapshot {
  const manifests = pods.map(
    ({ metadata }): ManifestReport => ({
      path: `/m/${metadata.name}.yaml`,
      pod: `${metadata.namespace}/${metadata.name}`,
      verdict: { kind: 'accepted' },
    }),
  );
  return { source: 'file', pods, manifests, readAt: 0, ...more };
}

function fresh(options: Partial<ConstructorParameters<typeof PodConfig>[0]> = {}): {
  readonly config: PodConfig;
  readonly clock: FakeClock;
} {
  const clock = new FakeClock();
  return { config: new PodConfig({ sources: ['file'], ...options }, { clock }), clock };
}

describe('PodConfig', () => {
  describe('S-219 … S-225: from snapshots to changed UIDs', () => {
    it('C-025: a new Pod', () => {
      const { config } = fresh();
      assert.deepEqual(config.apply(snapshot([pod('foo')])), ['uid-foo']);
    });

    it('C-026: the same name in another namespace is another Pod', () => {
      const { config } = fresh();
      config.apply(snapshot([pod('foo')]));
      assert.deepEqual(config.apply(snapshot([pod('foo'), pod('foo', { namespace: 'other', uid: 'uid-2' })])), ['uid-2']);
    });

    it('L-374: what manifests name includes Pods that others hide, of whatever source', () => {
      const { config } = fresh({ sources: ['file', 'http'] });
      config.apply(snapshot([pod('foo')], { shadowed: [pod('hidden')] }));
      config.apply(snapshot([pod('foo', { uid: 'uid-2' })], { source: 'http' }));
      assert.deepEqual([...config.desired().keys()], ['uid-foo']);
      assert.deepEqual(
        [...config.named()].map(({ metadata }) => metadata.uid),
        ['uid-foo', 'uid-hidden', 'uid-2'],
      );
    });

    it('C-027, S-222: the same snapshot again changes nothing, not even the objects', () => {
      const { config } = fresh();
      config.apply(snapshot([pod('foo')]));
      const before = config.desired().get('uid-foo');
      assert.deepEqual(config.apply(snapshot([pod('foo')])), []);
      assert.equal(config.desired().get('uid-foo'), before);
    });

    it('C-028: changed containers, then gone', () => {
      const { config } = fresh();
      config.apply(snapshot([pod('foo')]));
      assert.deepEqual(config.apply(snapshot([pod('foo', { image: 'httpd' })])), ['uid-foo']);
      assert.equal(config.desired().get('uid-foo')?.spec.containers[0]?.image, 'httpd');
      assert.deepEqual(config.apply(snapshot([])), ['uid-foo']);
      assert.equal(config.desired().size, 0);
    });

    it('C-029: a deletion timestamp is a change', () => {
      const { config } = fresh();
      config.apply(snapshot([pod('foo')]));
      assert.deepEqual(config.apply(snapshot([pod('foo', { deletionTimestamp: '2026-01-01T00:00:00Z' })])), ['uid-foo']);
    });

    it('C-030: gone, new, changed, in this order', () => {
      const { config } = fresh();
      config.apply(snapshot([pod('foo'), pod('foo2'), pod('foo3')]));
      const changed = config.apply(snapshot([pod('foo2', { image: 'httpd' }), pod('foo3'), pod('foo4')]));
      assert.deepEqual(changed, ['uid-foo', 'uid-foo4', 'uid-foo2']);
    });

    it('C-031: a difference in status alone is none', () => {
      const { config } = fresh();
      config.apply(snapshot([pod('foo')]));
      assert.deepEqual(config.apply(snapshot([{ ...pod('foo'), status: { phase: 'Running' } }])), []);
    });

    it('S-225: an edit without a pinned UID: the old one goes, the new one comes', () => {
      const { config } = fresh();
      config.apply(snapshot([pod('foo', { uid: 'one' })]));
      assert.deepEqual(config.apply(snapshot([pod('foo', { uid: 'two' })])), ['one', 'two']);
    });
  });

  describe('S-223, L-027, C-033: what is a meaningful difference', () => {
    const base = pod('foo', { labels: { a: '1' } });
    const annotated = (key: string, value: string): Pod =>
      pod('foo', { labels: { a: '1' }, annotations: { ...base.metadata.annotations, [key]: value } });
    const rows: readonly (readonly [string, Pod, boolean])[] = [
      ['nothing', pod('foo', { labels: { a: '1' } }), false],
      ['spec', pod('foo', { labels: { a: '1' }, image: 'x' }), true],
      ['a label', pod('foo', { labels: { a: '2' } }), true],
      ['no labels', pod('foo'), true],
      ['an annotation more', annotated('x', 'y'), true],
      ['config.hash', annotated(annotationKeys.configHash, 'other'), true],
      ['config.source', annotated(annotationKeys.configSource, 'http'), false],
      ['config.seen', annotated(annotationKeys.configSeen, 'now'), false],
      ['config.mirror', annotated(annotationKeys.configMirror, 'x'), false],
      ['the grace period of a deletion', pod('foo', { labels: { a: '1' }, deletionGracePeriodSeconds: 1 }), true],
      ['resourceVersion', pod('foo', { labels: { a: '1' }, resourceVersion: '2' }), false],
      ['finalizers', pod('foo', { labels: { a: '1' }, finalizers: ['f'] }), false],
      ['the name', pod('bar', { labels: { a: '1' } }), false],
    ];
    for (const [what, other, expected] of rows) it(what, () => assert.equal(differs(base, other), expected));
  });

  it('S-093, S-094: config.source and config.seen are set at first sight; seen stays with the UID', async () => {
    const { config, clock } = fresh();
    config.apply(snapshot([pod('foo')]));
    const annotations = () => config.desired().get('uid-foo')?.metadata.annotations;
    assert.equal(annotations()?.[annotationKeys.configSource], 'file');
    assert.equal(annotations()?.[annotationKeys.configSeen], '2026-01-01T00:00:00.000000000Z');
    await clock.advance(5000);
    config.apply(snapshot([pod('foo', { image: 'httpd' })]));
    assert.equal(annotations()?.[annotationKeys.configSeen], '2026-01-01T00:00:00.000000000Z');
    config.apply(snapshot([]));
    config.apply(snapshot([pod('foo')]));
    assert.equal(annotations()?.[annotationKeys.configSeen], '2026-01-01T00:00:05.000000000Z');
  });

  it('S-224: an update of a pinned UID keeps the name that its containers have', () => {
    const { config } = fresh();
    config.apply(snapshot([pod('foo', { uid: 'pinned' })]));
    config.apply(snapshot([pod('bar', { uid: 'pinned', image: 'httpd' })]));
    const { metadata, spec } = config.desired().get('pinned') ?? pod('none');
    assert.deepEqual([metadata.name, spec.containers[0]?.image], ['foo', 'httpd']);
  });

  describe('S-233: readiness of sources', () => {
    it('all configured sources must have been read', () => {
      const { config } = fresh({ sources: ['file', 'http'] });
      assert.equal(config.allSourcesSeen, false);
      config.apply(snapshot([]));
      assert.deepEqual([config.hasSeen('file'), config.hasSeen('http'), config.allSourcesSeen], [true, false, false]);
      config.apply(snapshot([], { source: 'http' }));
      assert.equal(config.allSourcesSeen, true);
    });

    it('S-001, S-059: without a source nothing is waited for', () => {
      assert.equal(fresh({ sources: [] }).config.allSourcesSeen, true);
    });

    it('D1, C-082: a source that says it was never read is not seen; later faults change nothing', () => {
      const { config } = fresh();
      config.apply(snapshot([], { fault: 'missing', unread: true }));
      assert.equal(config.allSourcesSeen, false);
      config.apply(snapshot([]));
      config.apply(snapshot([], { fault: 'missing' }));
      assert.equal(config.allSourcesSeen, true);
      assert.equal(config.sources()[0]?.fault, 'missing');
    });

    it('a snapshot of a source that is not configured is ignored', () => {
      const { config } = fresh();
      assert.deepEqual(config.apply(snapshot([pod('foo')], { source: 'http' })), []);
    });
  });

  describe('S-229: one Pod from two sources', () => {
    const fromUrl = (pods: readonly Pod[]): SourceSnapshot =>
      snapshot(pods, {
        source: 'http',
        manifests: pods.map((p, index) => ({ path: 'http://x/', index, pod: `default/${p.metadata.name}`, verdict: { kind: 'accepted' } })),
      });

    it('the earlier source has it, whichever spoke first; the other takes over when it is gone', () => {
      const { config } = fresh({ sources: ['file', 'http'] });
      assert.deepEqual(config.apply(fromUrl([pod('foo', { uid: 'url' }), pod('bar')])), ['url', 'uid-bar']);
      assert.deepEqual(config.apply(snapshot([pod('foo', { uid: 'disk' })])), ['url', 'disk']);
      assert.deepEqual(
        config.manifests().map(({ path, index, verdict }) => [path, index, verdict]),
        [
          ['/m/foo.yaml', undefined, { kind: 'accepted' }],
          ['http://x/', 0, { kind: 'shadowed', by: '/m/foo.yaml' }],
          ['http://x/', 1, { kind: 'accepted' }],
        ],
      );
      assert.deepEqual(config.apply(snapshot([])), ['disk', 'url']);
    });

    it('a UID is had by one of them only', () => {
      const { config } = fresh({ sources: ['file', 'http'] });
      config.apply(snapshot([pod('foo', { uid: 'same' })]));
      assert.deepEqual(config.apply(fromUrl([pod('bar', { uid: 'same' })])), []);
      assert.equal(config.desired().get('same')?.metadata.name, 'foo');
    });
  });

  it('D1: a source that was led elsewhere and knows nothing there keeps its Pods, with the fault shown', () => {
    const { config } = fresh();
    config.apply(snapshot([pod('foo')]));
    assert.deepEqual(config.apply(snapshot([], { unread: true, fault: '/else does not exist' })), []);
    assert.deepEqual([...config.desired().keys()], ['uid-foo']);
    assert.equal(config.sources()[0]?.fault, '/else does not exist');
    assert.equal(config.manifests().length, 1);
    assert.deepEqual(config.apply(snapshot([])), ['uid-foo']);
  });

  it('a preview changes nothing', () => {
    const { config } = fresh({ sources: ['file', 'http'] });
    config.apply(snapshot([pod('foo')]));
    config.apply(snapshot([pod('bar')], { source: 'http' }));
    const before = config.desired();
    const { desired, manifests } = config.preview(snapshot([pod('bar', { uid: 'file-bar' })]));
    assert.deepEqual([...desired.keys()], ['file-bar']);
    assert.deepEqual(
      manifests.map(({ verdict }) => verdict.kind),
      ['accepted', 'shadowed'],
    );
    assert.equal(config.desired(), before);
    assert.deepEqual(config.apply(snapshot([pod('foo')])), []);
  });

  it('a reload without a source takes its Pods away', () => {
    const { config } = fresh({ sources: ['file', 'http'] });
    config.apply(snapshot([pod('foo')]));
    config.apply(snapshot([pod('bar')], { source: 'http' }));
    assert.deepEqual(config.configure({ sources: ['file'] }), ['uid-bar']);
    assert.deepEqual(
      config.sources().map((s) => s.source),
      ['file'],
    );
  });
});
