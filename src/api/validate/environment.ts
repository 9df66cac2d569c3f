// Validation of environment variables (S-175 … S-179).
import type { Container, EnvFromSource, EnvVar, FileKeySelector } from '../gen/kubernetes.ts';
import { environmentFieldPaths, validateFieldSelector, validateResourceSelector } from './downward-api.ts';
import { configKey, dnsLabel, dnsSubdomain, environmentName, nonReservedRelativePath } from './formats.ts';
import type { Report } from './report.ts';
import type { UsableVolumes } from './volumes.ts';

export function validateEnvironment(field: string, container: Container, volumes: UsableVolumes, report: Report): void {
  for (const [i, variable] of (container.env ?? []).entries()) {
    const at = `${field}.env[${i}]`;
    if (variable.name === '') report.required(`${at}.name`);
    else report.invalidEach(`${at}.name`, variable.name, environmentName(variable.name));
    validateValueFrom(`${at}.valueFrom`, variable, volumes, report);
  }
  validateEnvFrom(`${field}.envFrom`, container.envFrom ?? [], report);
}

function validateValueFrom(at: string, variable: EnvVar, volumes: UsableVolumes, report: Report): void {
  const source = variable.valueFrom;
  if (source === undefined) return;
  if (source.fieldRef !== undefined) validateFieldSelector(`${at}.fieldRef`, source.fieldRef, environmentFieldPaths, report);
  if (source.resourceFieldRef !== undefined) validateResourceSelector(`${at}.resourceFieldRef`, source.resourceFieldRef, false, report);
  for (const kind of ['configMapKeyRef', 'secretKeyRef'] as const) {
    const ref = source[kind];
    if (ref === undefined) continue;
    report.invalidEach(`${at}.${kind}.name`, ref.name ?? '', dnsSubdomain(ref.name ?? ''));
    if (ref.key === '') report.required(`${at}.${kind}.key`);
    else report.invalidEach(`${at}.${kind}.key`, ref.key, configKey(ref.key));
  }
  if (source.fileKeyRef !== undefined) validateFileKey(`${at}.fileKeyRef`, source.fileKeyRef, volumes, report);
  const count = Object.values(source).filter((member) => member !== undefined).length;
  if (count === 0) {
    report.invalid(at, '', 'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`');
  } else if ((variable.value ?? '') !== '') report.invalid(at, '', 'may not be specified when `value` is not empty');
  else if (count > 1) report.invalid(at, '', 'may not have more than one field specified at a time');
}

/** S-179 */
function validateFileKey(at: string, ref: FileKeySelector, volumes: UsableVolumes, report: Report): void {
  if (ref.key === '') report.required(`${at}.key`);
  else report.invalidEach(`${at}.key`, ref.key, environmentName(ref.key));
  if (ref.volumeName === '') report.required(`${at}.volumeName`);
  else report.invalidEach(`${at}.volumeName`, ref.volumeName, dnsLabel(ref.volumeName));
  const volume = volumes.get(ref.volumeName);
  if (volume === undefined) report.notFound(`${at}.volumeName`, ref.volumeName);
  else if (volume.emptyDir === undefined) report.invalid(`${at}.volumeName`, ref.volumeName, 'referenced volume must be of type emptyDir');
  if (ref.path === '') report.required(`${at}.path`);
  else report.invalidEach(`${at}.path`, ref.path, nonReservedRelativePath(ref.path));
}

/** S-178; how many sources an entry has is reported without its index. */
function validateEnvFrom(field: string, sources: readonly EnvFromSource[], report: Report): void {
  for (const [i, source] of sources.entries()) {
    const { prefix = '' } = source;
    if (prefix !== '') report.invalidEach(`${field}[${i}].prefix`, prefix, environmentName(prefix));
    let count = 0;
    for (const kind of ['configMapRef', 'secretRef'] as const) {
      const ref = source[kind];
      if (ref === undefined) continue;
      count += 1;
      const at = `${field}[${i}].${kind}.name`;
      if ((ref.name ?? '') === '') report.required(at);
      else report.invalidEach(at, ref.name, dnsSubdomain(ref.name ?? ''));
    }
    if (count === 0) report.invalid(field, '', 'must specify one of: `configMapRef` or `secretRef`');
    else if (count > 1) report.invalid(field, '', 'may not have more than one field specified at a time');
  }
}
