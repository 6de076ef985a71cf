// Loads a model's file by node-llama-cpp. Only this file, engine.ts, text-engine.ts, grammar-constraint.ts and
// engine-report-child.ts know the binding; none of them is ever imported by the gateway's own process.
import { getLlama, type Llama, LlamaLogLevel, type LlamaModel } from 'node-llama-cpp';
import type { LogLevel } from '../../core/log.ts';
import type { EngineSettings, ModelPurpose } from './messages.ts';
import { purposeOf } from './model-purpose.ts';

export interface LoadedModel {
  readonly llama: Llama;
  readonly model: LlamaModel;
  readonly purpose: ModelPurpose;
}

/** Rejects, or ends the process, when the file is no good. */
export async function loadModel(
  settings: EngineSettings,
  log: (level: LogLevel, message: string) => void,
): Promise<LoadedModel> {
  const llama = await getLlama({
    gpu: settings.gpu,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    maxThreads: settings.mostThreads,
    logLevel: LlamaLogLevel.warn,
    logger: (level, message) => log(level === LlamaLogLevel.warn ? 'debug' : 'warn', message.trim()),
  });
  const model = await llama.loadModel({ modelPath: settings.modelFile });
  const { metadata, architectureMetadata } = model.fileInfo;
  const purpose = purposeOf(metadata.general.architecture, architectureMetadata.pooling_type);
  return { llama, model, purpose };
}
