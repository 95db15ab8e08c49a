import { nodeMetricsHandler } from "@lukhas/stage-metrics/node";

export default nodeMetricsHandler();
