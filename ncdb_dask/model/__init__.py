"""The network as files describe it: the model file, the ONNX graph, and what a picture becomes before it enters."""
