// References to API objects that a static Pod cannot have, because there is no control plane to resolve them
// (S-212 … S-218): all of them, each with what to use instead.
import type { Container, PodSpec, ProjectedVolumeSource, Volume } from '../gen/kubernetes.ts';
import type { Problem } from '../problem.ts';

const advice = {
  serviceaccounts: 'remove it: without a control plane there are no service accounts',
  secrets: 'keep the data in a file on the machine and mount it with a hostPath volume',
  secretEnv: 'give the value with env, or keep it in a file on the machine and mount that with a hostPath volume',
  pullSecrets: 'give the node the credentials of the registry in its own configuration',
  configmaps: 'keep the data in a file on the machine and mount it with a hostPath volume',
  configMapEnv: 'give the values with env',
  resourceclaims: 'there is no allocation of devices without a control plane',
  persistentvolumeclaims: 'use a hostPath volume',
  ephemeral: 'use an emptyDir volume',
  csidrivers: 'mount the storage on the machine and use a hostPath volume',
  endpoints: 'mount the storage on the machine and use a hostPath volume',
  clustertrustbundles: 'keep the certificates in a file on the machine and mount it with a hostPath volume',
  podcertificates: 'keep the certificate in a file on the machine and mount it with a hostPath volume',
} as const;

class References {
  readonly problems: Problem[] = [];

  add(field: string, resource: string, what: keyof typeof advice): void {
    this.problems.push({ field, message: `static pods may not reference ${resource}; ${advice[what]}` });
  }

  /** Only a reference with a name refers to anything. */
  named(field: string, name: string | undefined, resource: string, what: keyof typeof advice): void {
    if (name !== undefined && name !== '') this.add(field, resource, what);
  }
}

/** In the order in which a kubelet looks for them, so that the first is the one it would report. */
export function findApiReferences(spec: PodSpec): readonly Problem[] {
  const found = new References();
  const volumes = spec.volumes ?? [];
  const containers = containersOf(spec);
  found.named('spec.serviceAccountName', spec.serviceAccountName, 'serviceaccounts', 'serviceaccounts');
  for (const [i, secret] of (spec.imagePullSecrets ?? []).entries())
    found.named(`spec.imagePullSecrets[${i}].name`, secret.name, 'secrets', 'pullSecrets');
  for (const [field, container] of containers) secretsOfContainer(field, container, found);
  for (const [i, volume] of volumes.entries()) secretsOfVolume(`spec.volumes[${i}]`, volume, found);
  for (const [field, container] of containers) configMapsOfContainer(field, container, found);
  for (const [i, volume] of volumes.entries()) configMapsOfVolume(`spec.volumes[${i}]`, volume, found);
  if ((spec.resourceClaims ?? []).length > 0) found.add('spec.resourceClaims', 'resourceclaims', 'resourceclaims');
  for (const [i, volume] of volumes.entries()) volumeKinds(`spec.volumes[${i}]`, volume, found);
  return found.problems;
}

type AnyContainer = Pick<Container, 'env' | 'envFrom'>;

function containersOf(spec: PodSpec): readonly (readonly [string, AnyContainer])[] {
  const list = (field: string, containers: readonly AnyContainer[] | undefined) =>
    (containers ?? []).map((container, i) => [`spec.${field}[${i}]`, container] as const);
  return [
    ...list('initContainers', spec.initContainers),
    ...list('containers', spec.containers),
    ...list('ephemeralContainers', spec.ephemeralContainers),
  ];
}

function secretsOfContainer(field: string, container: AnyContainer, found: References): void {
  for (const [i, source] of (container.envFrom ?? []).entries()) {
    found.named(`${field}.envFrom[${i}].secretRef`, source.secretRef?.name, 'secrets', 'secretEnv');
  }
  for (const [i, variable] of (container.env ?? []).entries()) {
    found.named(`${field}.env[${i}].valueFrom.secretKeyRef`, variable.valueFrom?.secretKeyRef?.name, 'secrets', 'secretEnv');
  }
}

function configMapsOfContainer(field: string, container: AnyContainer, found: References): void {
  for (const [i, source] of (container.envFrom ?? []).entries()) {
    found.named(`${field}.envFrom[${i}].configMapRef`, source.configMapRef?.name, 'configmaps', 'configMapEnv');
  }
  for (const [i, variable] of (container.env ?? []).entries()) {
    found.named(`${field}.env[${i}].valueFrom.configMapKeyRef`, variable.valueFrom?.configMapKeyRef?.name, 'configmaps', 'configMapEnv');
  }
}

function secretsOfVolume(field: string, volume: Volume, found: References): void {
  const refs: readonly (readonly [string, string | undefined])[] = [
    ['azureFile.secretName', volume.azureFile?.secretName],
    ['cephfs.secretRef', volume.cephfs?.secretRef?.name],
    ['cinder.secretRef', volume.cinder?.secretRef?.name],
    ['flexVolume.secretRef', volume.flexVolume?.secretRef?.name],
    ['rbd.secretRef', volume.rbd?.secretRef?.name],
    ['secret', volume.secret?.secretName],
    ['scaleIO.secretRef', volume.scaleIO?.secretRef.name],
    ['iscsi.secretRef', volume.iscsi?.secretRef?.name],
    ['storageos.secretRef', volume.storageos?.secretRef?.name],
    ['csi.nodePublishSecretRef', volume.csi?.nodePublishSecretRef?.name],
  ];
  for (const [name, secret] of refs) found.named(`${field}.${name}`, secret, 'secrets', 'secrets');
  for (const [i, source] of (volume.projected?.sources ?? []).entries()) {
    found.named(`${field}.projected.sources[${i}].secret`, source.secret?.name, 'secrets', 'secrets');
  }
}

function configMapsOfVolume(field: string, volume: Volume, found: References): void {
  found.named(`${field}.configMap`, volume.configMap?.name, 'configmaps', 'configmaps');
  for (const [i, source] of (volume.projected?.sources ?? []).entries()) {
    found.named(`${field}.projected.sources[${i}].configMap`, source.configMap?.name, 'configmaps', 'configmaps');
  }
}

/** Volume types that stand for API objects whatever their fields say (S-214). */
function volumeKinds(field: string, volume: Volume, found: References): void {
  const isNameless = (name: string | undefined): boolean => name === undefined || name === '';
  if (volume.configMap !== undefined && isNameless(volume.configMap.name)) {
    found.add(`${field}.configMap`, 'configmaps (via configmap volumes)', 'configmaps');
  }
  if (volume.secret !== undefined && isNameless(volume.secret.secretName)) {
    found.add(`${field}.secret`, 'secrets (via secret volumes)', 'secrets');
  }
  if (volume.csi !== undefined) found.add(`${field}.csi`, 'csidrivers (via CSI volumes)', 'csidrivers');
  if (volume.glusterfs !== undefined) found.add(`${field}.glusterfs`, 'endpoints (via glusterFS volumes)', 'endpoints');
  if (volume.persistentVolumeClaim !== undefined) {
    found.add(`${field}.persistentVolumeClaim`, 'persistentvolumeclaims', 'persistentvolumeclaims');
  }
  if (volume.ephemeral !== undefined) found.add(`${field}.ephemeral`, 'persistentvolumeclaims (via ephemeral volumes)', 'ephemeral');
  if (volume.azureFile !== undefined && isNameless(volume.azureFile.secretName)) {
    found.add(`${field}.azureFile`, 'secrets (via azureFile volumes)', 'secrets');
  }
  if (volume.projected !== undefined) projectedSources(`${field}.projected`, volume.name, volume.projected, found);
}

function projectedSources(field: string, volumeName: string, projected: ProjectedVolumeSource, found: References): void {
  for (const [i, source] of (projected.sources ?? []).entries()) {
    const at = `${field}.sources[${i}]`;
    if (source.clusterTrustBundle !== undefined) found.add(`${at}.clusterTrustBundle`, 'clustertrustbundles', 'clustertrustbundles');
    if (source.podCertificate !== undefined) found.add(`${at}.podCertificate`, 'podcertificates', 'podcertificates');
    if (source.configMap !== undefined && (source.configMap.name ?? '') === '') {
      found.add(`${at}.configMap`, 'configmaps (via projected volumes)', 'configmaps');
    }
    if (source.secret !== undefined && (source.secret.name ?? '') === '')
      found.add(`${at}.secret`, 'secrets (via projected volumes)', 'secrets');
    if (source.serviceAccountToken !== undefined) {
      found.add(`${at}.serviceAccountToken`, 'serviceaccounts (via projected volumes)', 'serviceaccounts');
    }
    if (Object.values(source).every((member) => member === undefined)) {
      found.problems.push({ field: at, message: `unknown source for projected volume "${volumeName}"` });
    }
  }
}
