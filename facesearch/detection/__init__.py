"""Finding faces and their five points: the MTCNN cascade (Zhang et al. 2016).

It does not decode photographs, cut faces out or know who they are.
"""

from facesearch.detection.mtcnn import DetectorSettings, MtcnnDetector

__all__ = ["DetectorSettings", "MtcnnDetector"]
