"""The network: the model file, the ONNX graph, what a picture becomes before it enters, and what comes out."""
