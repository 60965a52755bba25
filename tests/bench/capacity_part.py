from tests.bench.part import Part
PART = Part(name="capacity", caption="", columns=(), cases=lambda s, o: [])
