/**
 * Names the channel of worker groups. It is part of the protocol, so tests spell it out.
 *
 * @module
 */

export const CHANNEL_NAME = "@lukhas/stage-metrics/4";
