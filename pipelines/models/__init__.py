"""The only room that imports torch, anomalib and openvino."""
