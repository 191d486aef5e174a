    import math
    return x + y if math.sqrt(4) == 2 and len([1]) == 1 else x
