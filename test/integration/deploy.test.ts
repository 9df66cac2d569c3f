// The dashboard and the alert rules are well formed. That what they ask for is served: agent-metrics.test.ts.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { promtool, whyNoPromtool } from '../support/promtool.ts';

const root = path.join(import.meta.dirname, '..', '..');

describe('deploy/grafana-dashboard.json', () => {
  const dashboard = JSON.parse(readFileSync(path.join(root, 'deploy', 'grafana-dashboard.json'), 'utf8'));

  test('every panel asks for something, of the chosen data source', () => {
    assert.ok(dashboard.panels.length > 10);
    for (const panel of dashboard.panels) {
      assert.ok(panel.targets.length > 0, panel.title);
      assert.equal(panel.datasource.uid, '${' + 'datasource}');
    }
  });

  test('panels have their own ids and places', () => {
    const ids = dashboard.panels.map((p: { id: number }) => p.id);
    assert.equal(new Set(ids).size, ids.length);
    const taken = new Set<string>();
    for (const { gridPos: g, title } of dashboard.panels) {
      assert.ok(g.x + g.w <= 24, title);
      for (let x = g.x; x < g.x + g.w; x++) {
        for (let y = g.y; y < g.y + g.h; y++) {
          assert.ok(!taken.has(`${x},${y}`), `${title} covers another panel`);
          taken.add(`${x},${y}`);
        }
      }
    }
  });
});

describe('deploy/prometheus-rules.yaml', () => {
  const { groups } = parse(readFileSync(path.join(root, 'deploy', 'prometheus-rules.yaml'), 'utf8'));

  test('every alert is complete', () => {
    const names = new Set<string>();
    for (const group of groups) {
      for (const rule of group.rules) {
        assert.match(rule.alert, /^Pinpod[A-Z]\w+$/);
        assert.ok(!names.has(rule.alert), rule.alert);
        names.add(rule.alert);
        assert.match(rule.for, /^\d+m$/);
        assert.ok(['warning', 'critical'].includes(rule.labels.severity), rule.alert);
        assert.ok(rule.annotations.summary !== undefined && rule.annotations.description !== undefined, rule.alert);
      }
    }
    assert.ok(names.size >= 8);
  });
});

test('deploy/prometheus-scrape.yaml is understood by Prometheus', { skip: whyNoPromtool() }, () => {
  const { code, said } = promtool(['check', 'config', '--syntax-only', path.join(root, 'deploy', 'prometheus-scrape.yaml')]);
  assert.equal(code, 0, said);
});

test("Prometheus' own linter finds no fault with the alert rules and the dashboard's questions", { skip: whyNoPromtool() }, () => {
  const dashboard = JSON.parse(readFileSync(path.join(root, 'deploy', 'grafana-dashboard.json'), 'utf8'));
  const questions: readonly string[] = dashboard.panels.flatMap((panel: { targets: { expr: string }[] }) =>
    panel.targets.map((t) => t.expr),
  );
  const rules = questions.map((expr, n) => ({ record: `question:${n}`, expr: expr.replaceAll('$__rate_interval', '5m') }));
  const dir = mkdtempSync(path.join(tmpdir(), 'pinpod-deploy-'));
  try {
    const ofDashboard = path.join(dir, 'rules.json');
    writeFileSync(ofDashboard, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
    const { code, said } = promtool(['check', 'rules', path.join(root, 'deploy', 'prometheus-rules.yaml'), ofDashboard]);
    assert.equal(code, 0, said);
    assert.equal(said.match(/SUCCESS: \d+ rules found/g)?.length, 2, said);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
