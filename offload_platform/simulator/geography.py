"""Where simulated users live: countries in several spellings, their cities, and distances on the globe."""

from dataclasses import dataclass

import numpy as np

from offload_platform.simulator.randomness import Numbers

KM_PER_DEGREE = 111.195


@dataclass(frozen=True)
class City:
    """A city; latitude and longitude of its centre in degrees."""

    name: str
    kind: str
    latitude: float
    longitude: float


@dataclass(frozen=True)
class Country:
    """A country: the spellings in which it is delivered, its offset from UTC in minutes, cities and street names."""

    spellings: tuple[str, ...]
    offset: int
    cities: tuple[City, ...]
    streets: tuple[str, ...]


COUNTRIES: tuple[Country, ...] = (
    Country(
        ("België  Belgique  Belgien", "België - Belgique - Belgien"),
        60,
        (
            City("Antwerpen", "city", 51.2194, 4.4025),
            City("Gent", "city", 51.0543, 3.7174),
            City("Liège", "city", 50.6326, 5.5797),
            City("Temse", "town", 51.1266, 4.2120),
            City("Sint-Niklaas", "town", 51.1651, 4.1432),
        ),
        ("Kerkstraat", "Stationsstraat", "Rue de l'Église", "Nieuwe Baan"),
    ),
    Country(
        ("Nederland",),
        60,
        (
            City("Utrecht", "city", 52.0907, 5.1214),
            City("Rotterdam", "city", 51.9244, 4.4777),
            City("'s-Hertogenbosch", "town", 51.6978, 5.3037),
        ),
        ("Dorpsstraat", "Molenweg", "Burgemeester van Dijklaan"),
    ),
    Country(
        ("Deutschland",),
        60,
        (
            City("Stuttgart", "city", 48.7758, 9.1829),
            City("Köln", "city", 50.9375, 6.9603),
            City("Tübingen", "town", 48.5216, 9.0576),
        ),
        ("Hauptstraße", "Bahnhofstraße", "Am Mühlbach"),
    ),
    Country(
        ("Schweiz Suisse Svizzera Svizra", "SchweizSuisseSvizzeraSvizra"),
        60,
        (City("Zürich", "city", 47.3769, 8.5417), City("Winterthur", "city", 47.4988, 8.7237)),
        ("Seestrasse", "Rue du Marché"),
    ),
    Country(
        ("España",),
        60,
        (
            City("Barcelona", "city", 41.3874, 2.1686),
            City("el Prat", "town", 41.3246, 2.0953),
            City("A Coruña", "city", 43.3623, -8.4115),
        ),
        ("Calle Mayor", "Passeig del Mar", "Avenida de la Constitución"),
    ),
    Country(
        ("UK", "United Kingdom"),
        0,
        (
            City("London", "city", 51.5072, -0.1276),
            City("Scunthorpe", "town", 53.5896, -0.6544),
            City("Edinburgh", "city", 55.9533, -3.1883),
        ),
        ("High Street", "Station Road", "King's Lane"),
    ),
    Country(
        ("Ireland", "Éire / Ireland"),
        0,
        (City("Dublin", "city", 53.3498, -6.2603), City("Dún Laoghaire", "town", 53.2940, -6.1336)),
        ("Main Street", "Bóthar na Trá"),
    ),
    Country(
        ("Norge",),
        60,
        (City("Oslo", "city", 59.9139, 10.7522), City("Tromsø", "town", 69.6492, 18.9553)),
        ("Tøyengata", "Storgata"),
    ),
    Country(
        ("Sverige",),
        60,
        (City("Gbg", "city", 57.7089, 11.9746), City("Malmö", "city", 55.6050, 13.0038)),
        ("Drottninggatan", "Södra Vägen"),
    ),
    Country(
        ("ישראל",),
        120,
        (City("קריית אונו", "town", 32.0636, 34.8553), City("תל אביב", "city", 32.0853, 34.7818)),
        ("הפרדס", "הרצל"),
    ),
    Country(
        ("South Africa",),
        120,
        (City("Cape Town", "city", -33.9249, 18.4241), City("Durban", "city", -29.8587, 31.0218)),
        ("Long Street", "Beach Road"),
    ),
    Country(
        ("India", "भारत"),
        330,
        (City("Bengaluru", "city", 12.9716, 77.5946), City("Pune", "city", 18.5204, 73.8567)),
        ("2nd Cross Road", "MG Road"),
    ),
    Country(
        ("USA", "United States of America"),
        -480,
        (
            City("Culver City", "town", 34.0211, -118.3965),
            City("Los Angeles", "city", 34.0522, -118.2437),
            City("San José", "city", 37.3387, -121.8853),
        ),
        ("Ocean Ave", "5th Street", "Sepulveda Blvd, Unit B"),
    ),
    Country(
        ("日本",),
        540,
        (City("横浜市", "city", 35.4437, 139.6380), City("京都市", "city", 35.0116, 135.7681)),
        ("本町通り", "駅前通り"),
    ),
)


def distance_km(latitude: Numbers, longitude: Numbers, to_latitude: Numbers, to_longitude: Numbers) -> Numbers:
    """Great-circle distance between points given in degrees."""
    north, to_north = np.radians(latitude), np.radians(to_latitude)
    half = (
        np.sin((to_north - north) / 2) ** 2
        + np.cos(north) * np.cos(to_north) * np.sin(np.radians(to_longitude - longitude) / 2) ** 2
    )
    distance: Numbers = 2 * 6371.0 * np.arcsin(np.sqrt(half))
    return distance
