// The dashboard and the alert rules are well formed, and name only metrics and labels this agent has.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { promtool, whyNoPromtool } from '../support/promtool.ts';

const root = path.join(import.meta.dirname, '..', '..');

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const place = path.join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === 'gen' ? [] : sources(place);
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts') ? [readFileSync(place, 'utf8')] : [];
  });
}

const code = sources(path.join(root, 'src')).join('\n');
const declared = new Set([...code.matchAll(/name: '((?:kubelet|pinpod|prober|kubernetes|process)_[a-z_]+)'/g)].map((m) => m[1] ?? ''));
/** Made by Prometheus itself. */
const builtIn = new Set(['up']);
const words = new Set(['sum', 'by', 'rate', 'increase', 'time', 'histogram_quantile', 'label_values', 'le']);

function checkExpression(expression: string): void {
  const depth: string[] = [];
  const closing: Readonly<Record<string, string>> = { ')': '(', '}': '{', ']': '[' };
  for (const char of expression.replaceAll(/"[^"]*"/g, '""')) {
    if ('({['.includes(char)) depth.push(char);
    else if (char in closing) assert.equal(depth.pop(), closing[char], `brackets of ${expression}`);
  }
  assert.deepEqual(depth, [], `brackets of ${expression}`);
  const names = expression
    .replaceAll(/"[^"]*"/g, '')
    .replaceAll(/\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)/g, '')
    .match(/[a-z_]+/g);
  for (const name of names ?? []) {
    if (words.has(name) || builtIn.has(name) || name === 'instance') continue;
    assert.ok(declared.has(name.replace(/_(bucket|sum|count)$/, '')) || declared.has(name), `${name} is not a metric of this agent`);
  }
}

describe('deploy/grafana-dashboard.json', () => {
  const dashboard = JSON.parse(readFileSync(path.join(root, 'deploy', 'grafana-dashboard.json'), 'utf8'));

  test('every panel asks for metrics that exist, from the chosen data source', () => {
    assert.ok(dashboard.panels.length > 10);
    for (const panel of dashboard.panels) {
      assert.ok(panel.targets.length > 0, panel.title);
      assert.equal(panel.datasource.uid, '${' + 'datasource}');
      for (const target of panel.targets) checkExpression(target.expr.replaceAll('$__rate_interval', '5m'));
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

  test('every alert is complete and asks for metrics that exist', () => {
    const names = new Set<string>();
    for (const group of groups) {
      for (const rule of group.rules) {
        assert.match(rule.alert, /^Pinpod[A-Z]\w+$/);
        assert.ok(!names.has(rule.alert), rule.alert);
        names.add(rule.alert);
        assert.match(rule.for, /^\d+m$/);
        assert.ok(['warning', 'critical'].includes(rule.labels.severity), rule.alert);
        assert.ok(rule.annotations.summary !== undefined && rule.annotations.description !== undefined, rule.alert);
        checkExpression(rule.expr);
      }
    }
    assert.ok(names.size >= 8);
  });
});

test("Prometheus' own linter finds no fault with the alert rules", { skip: whyNoPromtool() }, () => {
  const { code, said } = promtool(['check', 'rules', path.join(root, 'deploy', 'prometheus-rules.yaml')]);
  assert.equal(code, 0, said);
  assert.match(said, /SUCCESS: \d+ rules found/);
});
