// Writes docs/agent-configuration.schema.json and docs/configuration.md from the table of settings.
// Run with: node scripts/generate-config-docs.ts
import { writeFileSync } from 'node:fs';

import { agentConfigurationSchema, configurationReference } from '../src/config/schema.ts';

const docs = new URL('../docs/', import.meta.url);
writeFileSync(new URL('agent-configuration.schema.json', docs), `${JSON.stringify(agentConfigurationSchema(), undefined, 2)}\n`);
writeFileSync(new URL('configuration.md', docs), configurationReference());
