"""What a program may use and still be plain: syntax, built-ins, modules, attributes, methods.

These are lists of what is sound, made by hand from what honest programs use. None of it gives a
program a frame, a module, a code object, the class `type`, or a value whose comparison lies. What
is on no list is a reason for suspicion (`toolkit.sandbox.suspicion`).
"""

import abc
import array
import builtins
import collections
import contextlib
import dataclasses
import datetime
import decimal
import fractions
import functools
import importlib
import io
import itertools
import operator
import random
import re
import string
import types
from collections.abc import Mapping
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NODES: Final = _words("""
    Module FunctionDef AsyncFunctionDef ClassDef Return Delete Assign AugAssign AnnAssign For
    AsyncFor While If With AsyncWith withitem Match Raise Try TryStar Assert Import ImportFrom
    Global Nonlocal Expr Pass Break Continue BoolOp NamedExpr BinOp UnaryOp Lambda IfExp Dict Set
    ListComp SetComp DictComp GeneratorExp Await Yield YieldFrom Compare Call FormattedValue
    JoinedStr Constant Attribute Subscript Starred Name List Tuple Slice comprehension
    ExceptHandler arguments arg keyword alias match_case MatchValue MatchSingleton MatchSequence
    MatchMapping MatchClass MatchStar MatchAs MatchOr Load Store Del And Or Add Sub Mult MatMult
    Div Mod Pow LShift RShift BitOr BitXor BitAnd FloorDiv Invert Not UAdd USub Eq NotEq Lt LtE Gt
    GtE Is IsNot In NotIn
""")

EXCEPTIONS: Final = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, Exception)
)
BUILTINS: Final = (
    _words("""
        abs aiter all anext any ascii bin bool bytearray bytes callable chr classmethod complex
        copyright credits dict divmod enumerate filter float format frozenset hasattr hash hex id
        input int isinstance issubclass iter len license list map max min next object oct ord pow
        print property range repr reversed round set slice sorted staticmethod str sum tuple zip
        Ellipsis NotImplemented BaseException GeneratorExit KeyboardInterrupt
    """)
    | EXCEPTIONS
)
"""Built-ins that may be used in any way."""
CALLED_BUILTINS: Final = _words("eval getattr setattr super type")
"""Built-ins of which only some calls are plain."""
ALL_BUILTINS: Final = frozenset(dir(builtins))
EVALUATED: Final = _words("abs bool divmod float int len max min pow round str sum")
"""The names that a text may use which a program evaluates."""

_VALUES: Final = (
    *(bool, int, float, complex, str, bytes, bytearray, range),
    *(list, tuple, dict, set, frozenset, types.NoneType),
)
_VALUE_ATTRIBUTES: Final = frozenset(name for t in _VALUES for name in dir(t) if name[0] != "_")
ATTRIBUTES: Final = _VALUE_ATTRIBUTES - {"format", "format_map"} | _words("""
    appendleft extendleft popleft rotate maxlen most_common elements total subtract move_to_end
    group groups groupdict start end span pattern string match search fullmatch findall finditer
    sub subn lastindex
    year month day hour minute second microsecond days seconds microseconds date time weekday
    isoweekday isoformat strftime strptime timetuple timestamp total_seconds toordinal isocalendar
    today now
    limit_denominator quantize to_integral_value is_nan sqrt exp log10 ln
    hexdigest digest digest_size tobytes tolist cast nbytes typecode itemsize
    cache_clear cache_info hits misses currsize maxsize
    send close args key keywords name value values code msg message text path offset size object
    setter getter deleter
    acquire release
    put put_nowait get_nowait qsize empty full task_done
    func type default metadata
    next prev order parents power push pop peek parse seed scale shift sign shape phase expand
    read readline readlines write writelines flush getvalue isatty buffer
    randint choice choices shuffle sample uniform random randrange gauss
    ratio quick_ratio get_matching_blocks
    re sum mean std var argmax argmin argsort astype reshape flatten ravel item dot T transpose any
    all cumsum cumprod prod round ndim dtype min max squeeze nonzero clip diagonal trace fill
    hex int bytes major minor micro releaselevel
    _asdict _fields _make _replace
    __name__ __qualname__ __doc__
    __abs__ __add__ __and__ __contains__ __eq__ __ge__ __getitem__ __gt__ __iter__ __le__ __len__
    __lt__ __mod__ __mul__ __ne__ __next__ __or__ __repr__ __setitem__ __str__ __sub__ __hash__
""")
"""Attributes that may be read from any value. To call them is plain too."""
_TYPES: Final = {
    value
    for module in (
        *(builtins, types, abc, array, collections, collections.abc, contextlib, dataclasses),
        *(datetime, decimal, fractions, functools, io, itertools, operator, random, re, string),
    )
    for value in vars(module).values()
    if isinstance(value, type)
}
COMPARED_ATTRIBUTES: Final = _words("key name next order parents path prev text value")
"""Attributes that no value has which a test expects, though something in the library has."""
NUMPY_ATTRIBUTES: Final = _words("""
    base byteswap choose compress conj ctypes data device dump dumps flags flat getfield
    itemset mT newbyteorder partition ptp put resize setfield setflags strides tofile tostring view
""")
"""Attributes of arrays that reach their memory, or that nobody needs."""
KNOWN_ATTRIBUTES: Final = frozenset(
    name for kind in _TYPES for owner in (kind, type(kind)) for name in dir(owner)
)
"""Attributes of what the interpreter and the plain modules make. Any other name that a program
gives to an attribute is its own."""
TEXT_ATTRIBUTES: Final = _words("__name__ __qualname__ __doc__")
"""Special attributes that are texts."""
RESERVED_READ: Final = _words("__name__ __doc__ __debug__")
"""Reserved names that may be read."""
BOUND_RESERVED: Final = _words(
    "__all__ __author__ __copyright__ __credits__ __date__ __email__ __license__ "
    "__maintainer__ __status__ __version__"
)
"""Reserved names that may be bound to any value."""
OVER_BUILTINS: Final = _words("__builtins__ __import__ __name__ __build_class__ __debug__")
"""Reserved names that Python itself looks up."""
SPECIAL_METHODS: Final = _words("""
    __init__ __post_init__ __repr__ __str__ __len__ __iter__ __next__ __getitem__ __setitem__
    __delitem__ __call__ __enter__ __exit__ __aenter__ __aexit__ __aiter__ __anext__ __hash__
    __reversed__
""")
"""Special methods that a class may define: none decides a comparison or a truth by itself."""
COMPARISONS: Final = _words("__eq__ __ne__ __lt__ __le__ __gt__ __ge__")
"""Special methods that a class may define if they compare an attribute of both operands."""

_TYPING: Final = """
    AbstractSet Any AnyStr AsyncGenerator AsyncIterable AsyncIterator Awaitable Callable ClassVar
    Collection Concatenate Container Coroutine DefaultDict Deque Dict Final FrozenSet Generator
    Generic Hashable Iterable Iterator List Literal LiteralString Mapping MutableMapping
    MutableSequence MutableSet NamedTuple Never NewType NoReturn Optional OrderedDict ParamSpec
    Protocol Reversible Self Sequence Set Sized SupportsAbs SupportsFloat SupportsInt SupportsIndex
    TYPE_CHECKING Text Tuple TypeAlias TypeVar TypedDict Union cast final no_type_check overload
"""
MODULES: Final[Mapping[str, frozenset[str]]] = {
    module: _words(names)
    for module, names in {
        "__future__": """
            annotations division print_function absolute_import generators nested_scopes
            generator_stop unicode_literals with_statement
        """,
        "abc": "ABC abstractmethod",
        "array": "array",
        "asyncio": "run sleep",
        "base64": "b64encode b64decode b32encode b32decode b16encode b16decode",
        "binascii": "hexlify unhexlify crc32",
        "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
        "calendar": "isleap leapdays monthrange weekday timegm",
        "cmath": """
            acos acosh asin asinh atan atanh cos cosh e exp inf infj isclose isfinite isinf isnan
            log log10 nan nanj phase pi polar rect sin sinh sqrt tan tanh tau
        """,
        "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
        "collections.abc": """
            Callable Collection Container Generator Hashable Iterable Iterator Mapping
            MutableMapping MutableSequence MutableSet Sequence Set Sized
        """,
        "contextlib": "contextmanager suppress",
        "copy": "copy deepcopy",
        "dataclasses": "dataclass field",
        "datetime": "date datetime time timedelta timezone MAXYEAR MINYEAR",
        "decimal": """
            Decimal ROUND_CEILING ROUND_DOWN ROUND_FLOOR ROUND_HALF_DOWN ROUND_HALF_EVEN
            ROUND_HALF_UP ROUND_UP ROUND_05UP InvalidOperation DivisionByZero
        """,
        "difflib": "SequenceMatcher get_close_matches",
        "fractions": "Fraction gcd",
        "functools": "cache cached_property cmp_to_key lru_cache partial reduce wraps",
        "hashlib": "md5 sha1 sha224 sha256 sha384 sha512 blake2b blake2s sha3_256",
        "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
        "io": "StringIO BytesIO",
        "itertools": """
            accumulate chain combinations combinations_with_replacement compress count cycle
            dropwhile filterfalse groupby islice pairwise permutations product repeat starmap
            takewhile tee zip_longest
        """,
        "json": "dumps loads JSONDecodeError",
        "keyword": "iskeyword",
        "locale": "getlocale",
        "logging": "critical debug error info warning DEBUG INFO WARNING ERROR",
        "math": """
            acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e
            erf erfc exp exp2 expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot inf
            isclose isfinite isinf isnan isqrt lcm ldexp lgamma log log10 log1p log2 modf nan
            nextafter perm pi pow prod radians remainder sin sinh sqrt tan tanh tau trunc ulp
            fma sumprod
        """,
        "multiprocessing": "cpu_count",
        "numbers": "Complex Integral Number Rational Real",
        "numpy": """
            abs absolute add all allclose amax amin any append arange argmax argmin argsort
            argwhere around array array_equal array_split asarray average bincount bool_ ceil clip
            column_stack complex128 concatenate convolve corrcoef cos count_nonzero cross cumprod
            cumsum deg2rad degrees delete diag diff digitize divide dot e empty exp expand_dims
            eye fabs flip fliplr flipud float32 float64 floor floor_divide full gcd greater
            histogram hstack hypot identity in1d inf inner insert int16 int32 int64 int8 integer
            interp intersect1d isclose isfinite isin isinf isnan lcm less linspace log log10 log1p
            log2 logical_and logical_not logical_or matmul max maximum mean median meshgrid min
            minimum mod multiply nan nanmax nanmean nanmin ndarray newaxis nonzero number ones
            ones_like outer pad percentile pi polyfit polyval power prod ptp quantile rad2deg
            radians ravel real remainder repeat reshape roll rot90 round searchsorted setdiff1d
            sign sin size sort split sqrt square squeeze stack std subtract sum swapaxes take tan
            tile trace transpose trapz tril triu true_divide trunc uint32 uint64 uint8 union1d
            unique vander var vdot vstack where zeros zeros_like float_ int_ floating signedinteger
        """,
        "numpy.linalg": "det eig inv matrix_rank norm solve",
        "numpy.random": """
            choice normal permutation rand randint randn random seed shuffle uniform
        """,
        "operator": """
            abs add and_ attrgetter concat contains countOf eq floordiv ge getitem gt iadd index
            indexOf inv invert itemgetter le lshift lt matmul methodcaller mod mul ne neg not_ or_
            pos pow rshift setitem sub truediv truth xor
        """,
        "os": "linesep sep getenv",
        "os.path": "basename dirname join split splitext",
        "pprint": "pformat pprint",
        "queue": "Empty LifoQueue PriorityQueue Queue SimpleQueue",
        "random": """
            Random choice choices gauss getrandbits normalvariate randint random randrange sample
            seed shuffle triangular uniform
        """,
        "re": """
            A ASCII DOTALL I IGNORECASE M MULTILINE S U UNICODE VERBOSE X compile error escape
            findall finditer fullmatch match search split sub subn
        """,
        "secrets": "choice randbelow token_bytes token_hex",
        "statistics": """
            StatisticsError fmean geometric_mean harmonic_mean mean median median_grouped
            median_high median_low mode multimode pstdev pvariance quantiles stdev variance
        """,
        "string": """
            ascii_letters ascii_lowercase ascii_uppercase capwords digits hexdigits octdigits
            printable punctuation whitespace
        """,
        "struct": "calcsize pack unpack",
        "sys": """
            byteorder float_info getrecursionlimit getsizeof int_info maxsize maxunicode platform
            set_int_max_str_digits setrecursionlimit stderr stdin stdout version version_info
        """,
        "textwrap": "dedent fill indent shorten wrap",
        "threading": "Lock RLock",
        "time": """
            ctime gmtime localtime monotonic perf_counter perf_counter_ns process_time sleep
            strftime strptime time time_ns
        """,
        "traceback": "format_exc print_exc print_stack",
        "typing": _TYPING,
        "unicodedata": "category combining east_asian_width name normalize numeric",
        "uuid": "uuid1 uuid4",
        "warnings": "filterwarnings simplefilter warn",
        "zlib": "adler32 compress crc32 decompress",
    }.items()
}
"""What may be used of a module, as module.name. Any other use of a module is none."""

PYTHON_CLASSES: Final = _words(f"""
    abc.ABC collections.ChainMap collections.Counter difflib.SequenceMatcher fractions.Fraction
    json.JSONDecodeError random.Random statistics.StatisticsError numpy.ndarray re.error
    {" ".join(f"typing.{n}" for n in _TYPING.split())}
    {" ".join(f"collections.abc.{n}" for n in sorted(MODULES["collections.abc"]))}
    {" ".join(f"numbers.{n}" for n in sorted(MODULES["numbers"]))}
    {" ".join(f"queue.{n}" for n in sorted(MODULES["queue"]))}
    contextlib.suppress functools.cached_property
""")
"""Classes written in Python, whose methods take any object: they are no values."""
CLASS_METHODS: Final[Mapping[str, frozenset[str]]] = {
    path: _words(names)
    for path, names in {
        **dict.fromkeys(PYTHON_CLASSES, ""),
        "collections.Counter": "fromkeys",
        "datetime.date": "fromisoformat fromordinal fromtimestamp max min today",
        "datetime.datetime": """
            combine fromisoformat fromordinal fromtimestamp max min now strptime today utcnow
        """,
        "datetime.time": "fromisoformat max min",
        "datetime.timedelta": "max min total_seconds",
        "datetime.timezone": "utc",
        "decimal.Decimal": "from_float",
        "fractions.Fraction": "from_decimal from_float",
        "itertools.chain": "from_iterable",
    }.items()
}
"""What may be read from an imported class."""


def exported(module: str) -> frozenset[str]:
    """What `from module import *` binds; nothing for a module that is not plain, and for NumPy."""
    if module not in MODULES or module.startswith("numpy"):
        return frozenset()
    loaded = importlib.import_module(module)
    return frozenset(getattr(loaded, "__all__", [n for n in vars(loaded) if n[:1] != "_"]))


def reads_no_attribute(template: str) -> bool:
    """Whether no field of a `str.format` template, nor of its specifications, has an attribute or
    an index.
    """
    try:
        fields = list(string.Formatter().parse(template))
    except ValueError:
        return False
    return all(
        "." not in (name or "") and "[" not in (name or "") and reads_no_attribute(spec or "")
        for _, name, spec, _ in fields
    )
