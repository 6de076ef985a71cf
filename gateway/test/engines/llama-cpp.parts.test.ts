// llama.cpp's own server behind the gateway, in every run.
import { missingModel, missingPython } from '../parts.ts';
import { describeEngine } from './engine-suite.ts';
import { startLlamaCpp } from './llama-cpp-engine.ts';

const missing = missingModel() ?? missingPython('xllamacpp');
describeEngine("llama.cpp's server", missing, () => startLlamaCpp(process.env.SLUICE_TEST_MODEL!));
