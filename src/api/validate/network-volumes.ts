// Validation of volume types whose data lives elsewhere (S-163 … S-165).
import type { AzureDiskVolumeSource, FCVolumeSource, ISCSIVolumeSource, QuobyteVolumeSource, Volume } from '../gen/kubernetes.ts';
import { byteLength, dnsLabel, inclusiveRange, relativePath } from './formats.ts';
import type { Report } from './report.ts';

/** Fields that may not be empty, by volume type. */
const required: Readonly<Record<string, readonly string[]>> = {
  gitRepo: ['repository'],
  gcePersistentDisk: ['pdName'],
  awsElasticBlockStore: ['volumeID'],
  nfs: ['server', 'path'],
  glusterfs: ['endpoints', 'path'],
  persistentVolumeClaim: ['claimName'],
  rbd: ['monitors', 'image'],
  cinder: ['volumeID'],
  cephfs: ['monitors'],
  flexVolume: ['driver'],
  azureFile: ['secretName', 'shareName'],
  vsphereVolume: ['volumePath'],
  photonPersistentDisk: ['pdID'],
  portworxVolume: ['volumeID'],
  scaleIO: ['gateway', 'system', 'volumeName'],
  csi: ['driver'],
};

/** `field` is the volume's; `kind` its type, which is present. */
export function validateNetworkVolume(field: string, kind: keyof Volume, volume: Volume, report: Report): void {
  // Kubernetes calls this one by another name in its messages.
  const at = kind === 'gcePersistentDisk' ? `${field}.persistentDisk` : `${field}.${kind}`;
  const source: unknown = volume[kind];
  if (typeof source === 'object' && source !== null) requireFields(at, source, required[kind] ?? [], report);
  switch (kind) {
    case 'gitRepo': {
      const directory = volume.gitRepo?.directory ?? '';
      report.invalidEach(`${at}.directory`, directory, relativePath(directory));
      return;
    }
    case 'gcePersistentDisk':
      validatePartition(at, volume.gcePersistentDisk?.partition, report);
      return;
    case 'awsElasticBlockStore':
      validatePartition(at, volume.awsElasticBlockStore?.partition, report);
      return;
    case 'nfs': {
      const path = volume.nfs?.path ?? '';
      if (!path.startsWith('/')) report.invalid(`${at}.path`, path, 'must be an absolute path');
      return;
    }
    case 'iscsi':
      if (volume.iscsi !== undefined) validateIscsi(field, at, volume.iscsi, volume.name, report);
      return;
    case 'flocker':
      validateFlocker(at, volume, report);
      return;
    case 'cinder':
      validateSecretRef(at, volume.cinder?.secretRef, report);
      return;
    case 'quobyte':
      if (volume.quobyte !== undefined) validateQuobyte(at, volume.quobyte, report);
      return;
    case 'fc':
      if (volume.fc !== undefined) validateFibreChannel(at, volume.fc, report);
      return;
    case 'flexVolume':
      for (const key of Object.keys(volume.flexVolume?.options ?? {})) {
        if (/(?:^|\.)(?:kubernetes|k8s)\.io$/i.test(key.split('/', 1)[0] ?? '')) {
          report.invalid(`${at}.options[${key}]`, key, 'kubernetes.io and k8s.io namespaces are reserved');
        }
      }
      return;
    case 'azureDisk':
      if (volume.azureDisk !== undefined) validateAzureDisk(at, volume.azureDisk, report);
      return;
    case 'storageos': {
      const { volumeName = '', volumeNamespace = '' } = volume.storageos ?? {};
      if (volumeName === '') report.required(`${at}.volumeName`);
      else report.invalidEach(`${at}.volumeName`, volumeName, dnsLabel(volumeName));
      if (volumeNamespace !== '') report.invalidEach(`${at}.volumeNamespace`, volumeNamespace, dnsLabel(volumeNamespace));
      validateSecretRef(at, volume.storageos?.secretRef, report);
      return;
    }
    case 'csi':
      validateCsiDriver(`${at}.driver`, volume.csi?.driver ?? '', report);
      if (volume.csi?.nodePublishSecretRef !== undefined && (volume.csi.nodePublishSecretRef.name ?? '') === '') {
        report.required(`${at}.nodePublishSecretRef.name`);
      }
      return;
    default:
  }
}

function requireFields(at: string, source: object, names: readonly string[], report: Report): void {
  const members = new Map<string, unknown>(Object.entries(source));
  for (const name of names) {
    const value = members.get(name);
    if (value === undefined || value === '' || (Array.isArray(value) && value.length === 0)) report.required(`${at}.${name}`);
  }
}

function validatePartition(at: string, partition: number | undefined, report: Report): void {
  if (partition !== undefined && (partition < 0 || partition > 255)) report.invalid(`${at}.partition`, partition, inclusiveRange(1, 255));
}

function validateSecretRef(at: string, ref: { readonly name?: string | undefined } | undefined, report: Report): void {
  if (ref !== undefined && (ref.name ?? '') === '') report.required(`${at}.secretRef.name`);
}

const initiators: Readonly<Record<string, RegExp>> = {
  iqn: /iqn\.\d{4}-\d{2}\.[A-Za-z0-9.-]+:[^,;*&$|\s]+$/,
  eui: /^eui.[A-Za-z0-9]{16}$/,
  naa: /^naa.[A-Za-z0-9]{32}$/,
};

function validateInitiator(field: string, name: string, report: Report): void {
  const pattern = initiators[name.slice(0, 3)];
  if (pattern === undefined) report.invalid(field, name, 'must be valid format starting with iqn, eui, or naa');
  else if (!pattern.test(name)) report.invalid(field, name, 'must be valid format');
}

/** S-164 */
function validateIscsi(field: string, at: string, iscsi: ISCSIVolumeSource, volumeName: string, report: Report): void {
  if (iscsi.targetPortal === '') report.required(`${at}.targetPortal`);
  if (iscsi.iqn === '') report.required(`${at}.iqn`);
  else validateInitiator(`${at}.iqn`, iscsi.iqn, report);
  if (iscsi.lun < 0 || iscsi.lun > 255) report.invalid(`${at}.lun`, iscsi.lun, inclusiveRange(0, 255));
  const usesChap = iscsi.chapAuthDiscovery === true || iscsi.chapAuthSession === true;
  if (usesChap && iscsi.secretRef === undefined) report.required(`${at}.secretRef`);
  if (iscsi.initiatorName === undefined) return;
  validateInitiator(`${at}.initiatorname`, iscsi.initiatorName, report);
  if (byteLength(`${volumeName}:${iscsi.targetPortal}`) > 64) {
    const detail = 'Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.';
    report.invalid(`${field}.name`, volumeName, detail);
  }
}

function validateFlocker(at: string, volume: Volume, report: Report): void {
  const { datasetName = '', datasetUUID = '' } = volume.flocker ?? {};
  if (datasetName === '' && datasetUUID === '') report.required(at, 'one of datasetName and datasetUUID is required');
  if (datasetName !== '' && datasetUUID !== '') {
    report.invalid(at, 'resource', 'datasetName and datasetUUID can not be specified simultaneously');
  }
  if (datasetName.includes('/')) report.invalid(`${at}.datasetName`, datasetName, "must not contain '/'");
}

function validateQuobyte(at: string, quobyte: QuobyteVolumeSource, report: Report): void {
  const pairs = 'must be a host:port pair or multiple pairs separated by commas';
  if (quobyte.registry === '') report.required(`${at}.registry`, pairs);
  else if (byteLength(quobyte.tenant ?? '') >= 65) {
    report.required(`${at}.tenant`, 'must be a UUID and may not exceed a length of 64 characters');
  } else {
    for (const pair of quobyte.registry.split(',')) {
      if (!/^(?:[^:[\]]*|\[[^[\]]*\]):[^:]*$/.test(pair)) report.invalid(`${at}.registry`, quobyte.registry, pairs);
    }
  }
  if (quobyte.volume === '') report.required(`${at}.volume`);
}

function validateFibreChannel(at: string, fc: FCVolumeSource, report: Report): void {
  const names = fc.targetWWNs ?? [];
  const ids = fc.wwids ?? [];
  if (names.length === 0 && ids.length === 0) {
    report.required(`${at}.targetWWNs`, 'must specify either targetWWNs or wwids, but not both');
  }
  if (names.length > 0 && ids.length > 0) {
    report.invalid(`${at}.targetWWNs`, names, 'targetWWNs and wwids can not be specified simultaneously');
  }
  if (names.length === 0) return;
  if (fc.lun === undefined) report.required(`${at}.lun`, 'lun is required if targetWWNs is specified');
  else if (fc.lun < 0 || fc.lun > 255) report.invalid(`${at}.lun`, fc.lun, inclusiveRange(0, 255));
}

const managedDiskUri = '/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}';
const blobDiskUri = 'https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd';

function validateAzureDisk(at: string, disk: AzureDiskVolumeSource, report: Report): void {
  if (disk.diskName === '') report.required(`${at}.diskName`);
  if (disk.diskURI === '') report.required(`${at}.diskURI`);
  if (disk.cachingMode !== undefined) report.oneOf(`${at}.cachingMode`, disk.cachingMode, ['None', 'ReadOnly', 'ReadWrite']);
  if (disk.kind === undefined) return;
  report.oneOf(`${at}.kind`, disk.kind, ['Dedicated', 'Managed', 'Shared']);
  const isManaged = disk.kind === 'Managed';
  if (!disk.diskURI.startsWith(isManaged ? '/subscriptions/' : 'https://')) {
    report.notSupported(`${at}.diskURI`, disk.diskURI, [isManaged ? managedDiskUri : blobDiskUri]);
  }
}

function validateCsiDriver(field: string, driver: string, report: Report): void {
  if (driver === '') return;
  if (byteLength(driver) > 63) report.tooLong(field, 63);
  report.invalidEach(field, driver, driver.toLowerCase().split('.').flatMap(dnsLabel));
}
