// Another Sluice with the embedded engine behind the gateway, in every run.
import { missingModel } from '../parts.ts';
import { describeEngine } from './engine-suite.ts';
import { startSecondSluice } from './sluice-engine.ts';

describeEngine('a second Sluice', missingModel(), () => startSecondSluice(process.env.SLUICE_TEST_MODEL!));
